"""Connections that lead through the egress proxy."""

import re
import ssl
from typing import cast

from webhooks.addresses import authority
from webhooks.sending.dialing import Dialer
from webhooks.sending.exchange import (
    Deadline,
    Exchange,
    ExchangeFailed,
    GuardedSocket,
    GuardedTLSSocket,
    Stopwatch,
    tls_context,
)
from webhooks.sending.names import Resolve
from webhooks.sending.outcome import Limits
from webhooks.sending.proxy import (
    ANYWHERE,
    NO_ANSWER,
    NO_TLS,
    UNREACHABLE,
    UNTRUSTED,
    EgressProxy,
    refused,
)

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?\r?\n")


class TunnelDialer:
    """Opens tunnels, each within `timeout` seconds.

    The proxy gets a host as it stands in the URL: to look its name up, and to judge the addresses
    that it has, is the proxy's part.
    """

    def __init__(
        self,
        proxy: EgressProxy,
        *,
        limits: Limits,
        user_agent: str,
        ca_bundle: str,
        resolve: Resolve,
    ) -> None:
        self.timeout = limits.connect_timeout
        self._max_received = limits.max_header_bytes
        self._proxy = proxy
        self._user_agent = user_agent
        self._tls = tls_context(ca_bundle) if proxy.scheme == "https" else None
        self._dialer = Dialer(ANYWHERE, timeout=self.timeout, resolve=resolve)

    def dial(self, host: str, port: int, deadline: Deadline, stopwatch: Stopwatch) -> GuardedSocket:
        """Have the proxy connect to a host. Raises TimeoutError, ExchangeFailed."""
        deadline = Deadline(min(self.timeout, deadline.seconds_left()))
        sock = self._reach(deadline, stopwatch)
        try:
            status = self._ask(sock, authority(host, port), deadline)
            if not 200 <= status < 300:
                raise ExchangeFailed(*refused(status))
            # For the handshake with the endpoint, which comes next.
            sock.exchange = Exchange(deadline, self._max_received)
            sock.settimeout(deadline.seconds_left())
        except BaseException:
            sock.close()
            raise
        return sock

    def close(self) -> None:
        self._dialer.close()

    def _reach(self, deadline: Deadline, stopwatch: Stopwatch) -> GuardedSocket:
        try:
            # The look-up of the proxy's name is nobody's business: it counts as connecting.
            sock = self._dialer.dial(self._proxy.host, self._proxy.port, deadline, Stopwatch())
            stopwatch.ended("connect")
            if self._tls is None:
                return sock
            wrapped = self._tls.wrap_socket(sock, server_hostname=self._proxy.host)
            return cast("GuardedTLSSocket", wrapped)
        except TimeoutError:
            raise
        except ssl.SSLCertVerificationError as error:
            raise ExchangeFailed(*UNTRUSTED) from error
        except ssl.SSLError as error:
            raise ExchangeFailed(*NO_TLS) from error
        except (OSError, ExchangeFailed) as error:
            raise ExchangeFailed(*UNREACHABLE) from error

    def _ask(self, sock: GuardedSocket, place: str, deadline: Deadline) -> int:
        """Send CONNECT, and read its answer to the end of the head and not a byte further."""
        lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}", f"User-Agent: {self._user_agent}"]
        if self._proxy.authorization:
            lines.append(f"Proxy-Authorization: {self._proxy.authorization}")
        sock.exchange = Exchange(deadline, self._max_received)
        try:
            sock.sendall("\r\n".join([*lines, "\r\n"]).encode())
            with sock.makefile("rb", buffering=0) as answer:
                status = _STATUS_LINE.fullmatch(answer.readline())
                line = b""
                while status and line not in (b"\r\n", b"\n"):
                    line = answer.readline()
                    if not line:
                        raise ConnectionError("closed within the head")
        except TimeoutError:
            raise
        except (OSError, ExchangeFailed) as error:
            raise ExchangeFailed(*NO_ANSWER) from error
        if not status:
            raise ExchangeFailed(*NO_ANSWER)
        return int(status[1])
