"""A curl handle that serves one exchange after another, and what comes of each."""

import errno
import os
import socket
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from ipaddress import ip_address
from time import monotonic
from typing import Any

import pycurl

from webhooks.addresses import Address, AddressPolicy, Target, authority, refusal
from webhooks.sending.credentials import ClientCertificate, Credentials
from webhooks.sending.outcome import (
    Limits,
    Outcome,
    OutcomeKind,
    OutgoingRequest,
    Timings,
    answered,
    failed,
    redacted,
)
from webhooks.sending.proxy import (
    NO_ANSWER,
    NO_TLS,
    UNREACHABLE,
    UNTRUSTED,
    EgressProxy,
    refused,
)

Done = Callable[[Outcome], None]

DNS_CACHE_SECONDS = 10

MAX_STEPS = 200
"""In which a response's body may come. curl reads many kilobytes in a step, if they are there."""

NO_CREDENTIALS = Credentials()

CURLE_TOO_LARGE = 100  # pycurl has no name for it
NOT_HTTP = "the response is not HTTP/1.1"
BAD_CERTIFICATE = "the client certificate cannot be used"
HEAD_TOO_LONG = "the response's head is too long"

# By curl's error code. What is missing here is a connection that was not made, or was lost.
FAILURES = {
    pycurl.E_OK: (OutcomeKind.RESPONSE_INVALID, NOT_HTTP),  # its status is none
    pycurl.E_COULDNT_RESOLVE_HOST: (OutcomeKind.NAME_NOT_RESOLVED, "{host} is not found by name"),
    pycurl.E_COULDNT_CONNECT: (OutcomeKind.CONNECTION_FAILED, "no connection to {peer}: {reason}"),
    pycurl.E_GOT_NOTHING: (OutcomeKind.CONNECTION_FAILED, "connection closed without a response"),
    pycurl.E_OPERATION_TIMEDOUT: (OutcomeKind.TIMED_OUT, "no response in time"),
    pycurl.E_PEER_FAILED_VERIFICATION: (
        OutcomeKind.TLS_FAILED,
        "certificate not accepted: {message}",
    ),
    pycurl.E_SSL_CONNECT_ERROR: (OutcomeKind.TLS_FAILED, "TLS failed: {message}"),
    pycurl.E_SSL_CACERT_BADFILE: (OutcomeKind.TLS_FAILED, "TLS failed: {message}"),
    pycurl.E_SSL_CERTPROBLEM: (OutcomeKind.TLS_FAILED, BAD_CERTIFICATE),
    pycurl.E_BAD_FUNCTION_ARGUMENT: (OutcomeKind.TLS_FAILED, BAD_CERTIFICATE),
    pycurl.E_UNSUPPORTED_PROTOCOL: (OutcomeKind.RESPONSE_INVALID, NOT_HTTP),
    pycurl.E_FTP_WEIRD_SERVER_REPLY: (OutcomeKind.RESPONSE_INVALID, "invalid response: {message}"),
    pycurl.E_HTTP2: (OutcomeKind.RESPONSE_INVALID, "invalid response: {message}"),
    CURLE_TOO_LARGE: (OutcomeKind.RESPONSE_INVALID, HEAD_TOO_LONG),
    pycurl.E_URL_MALFORMAT: (OutcomeKind.UNRENDERABLE, "the URL makes no sense to curl"),
}
PROXY_NOT_FOUND = (pycurl.E_COULDNT_RESOLVE_PROXY, pycurl.E_COULDNT_RESOLVE_HOST)
PROXY_FAILURES = {
    **dict.fromkeys(PROXY_NOT_FOUND, UNREACHABLE),
    pycurl.E_COULDNT_CONNECT: UNREACHABLE,
    pycurl.E_PEER_FAILED_VERIFICATION: UNTRUSTED,
    pycurl.E_SSL_CONNECT_ERROR: NO_TLS,
}
CONNECTION_LOST = (OutcomeKind.CONNECTION_FAILED, "{reason}")


class Transfer:
    """Between `begin` and `outcome`, its handle belongs to a multi handle.

    What is the same in every request is set once: it would cost more than the request itself.
    """

    __slots__ = (
        "_address",
        "_at_proxy",
        "_body",
        "_body_bytes",
        "_certificate",
        "_connect_timeout",
        "_dns_ms",
        "_fault",
        "_head",
        "_head_bytes",
        "_head_complete",
        "_interim",
        "_kept_bytes",
        "_limits",
        "_looked_up_from",
        "_policy",
        "_proxy",
        "_refused",
        "_retry_after",
        "_seconds",
        "_secrets",
        "_started",
        "_steps",
        "_target",
        "_timeout",
        "_tunnelled",
        "curl",
        "done",
        "wants_addresses",
    )

    curl: Any
    done: Done
    wants_addresses: bool
    """Whether curl stopped where a new connection needs what the host's name resolves to."""

    def __init__(
        self,
        *,
        policy: AddressPolicy,
        limits: Limits,
        user_agent: str,
        ca_bundle: str,
        proxy: EgressProxy | None,
    ) -> None:
        self._policy = policy
        self._proxy = proxy
        self._limits = limits
        self._timeout = limits.timeout
        self._connect_timeout = limits.connect_timeout
        self._certificate: ClientCertificate | None = None
        self.curl = pycurl.Curl()
        for option, value in (
            (pycurl.POST, 1),
            (pycurl.USERAGENT, user_agent),
            (pycurl.ENCODING, "identity"),
            (pycurl.HTTP_CONTENT_DECODING, 0),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS),
            (pycurl.HTTP09_ALLOWED, 0),
            (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            (pycurl.PATH_AS_IS, 1),
            (pycurl.FOLLOWLOCATION, 0),
            (pycurl.PROXY, ""),
            (pycurl.NOPROXY, ""),
            (pycurl.CAINFO, ca_bundle),
            (pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2),
            (pycurl.NOSIGNAL, 1),
            (pycurl.TCP_NODELAY, 1),
            (pycurl.TIMEOUT_MS, _milliseconds(limits.timeout)),
            (pycurl.CONNECTTIMEOUT_MS, _milliseconds(limits.connect_timeout)),
            (pycurl.DNS_CACHE_TIMEOUT, DNS_CACHE_SECONDS),
            # An age of 0 would be none at all.
            (pycurl.MAXAGE_CONN, int(limits.keep_alive)),
            (pycurl.FORBID_REUSE, int(limits.keep_alive < 1)),
            (pycurl.OPENSOCKETFUNCTION, self._open_socket),
            (pycurl.SOCKOPTFUNCTION, _close_on_exec),
            (pycurl.HEADERFUNCTION, self._take_head),
            (pycurl.WRITEFUNCTION, self._take_body),
            (pycurl.XFERINFOFUNCTION, self._take_step),
            (pycurl.NOPROGRESS, 0),
            *(self._direct() if proxy is None else self._through(proxy, ca_bundle)),
        ):
            self.curl.setopt(option, value)

    def begin(self, request: OutgoingRequest, target: Target, done: Done) -> None:
        """Take on a request whose headers have been checked."""
        self.done = done
        self._started = self._looked_up_from = monotonic()
        self._dns_ms: int | None = None
        self._target = target
        self.wants_addresses = False
        self._address: Any = None
        self._at_proxy = False
        self._tunnelled = False
        self._refused = ""
        self._fault = ""
        self._head: list[bytes] = []
        self._head_bytes = 0
        self._head_complete = False
        self._interim = False
        self._retry_after: str | None = None
        self._body_bytes = 0
        self._body = b""
        self._steps = 0
        self._kept_bytes = request.kept_response_bytes or self._limits.kept_response_bytes
        credentials = request.credentials or NO_CREDENTIALS
        self._secrets = credentials.secrets
        self._show(credentials.certificate)
        self._seconds = self._limits.timeout if request.timeout is None else request.timeout
        self._end_within(self._seconds, self._limits.connect_timeout)
        # A name alone keeps curl from adding the header by itself.
        lines = ["Expect:", "Content-Type:"]
        for headers in (credentials.headers, request.headers):
            for name, value in headers.items():
                lines.append(f"{name}: {value}" if value else f"{name};")
        setopt = self.curl.setopt
        setopt(pycurl.URL, target.url)
        setopt(pycurl.HTTPHEADER, lines)
        setopt(pycurl.POSTFIELDS, request.body)

    @property
    def host(self) -> str:
        return self._target.host

    def seconds_to_connect(self) -> float:
        """How much of its time is left until there must be a connection."""
        return min(self._limits.connect_timeout, self._seconds) - (monotonic() - self._started)

    def go_on(self, addresses: Iterable[Address]) -> None:
        """Have curl connect to one of some addresses of the host, which have been judged.

        It keeps them for other transfers to the same host, for DNS_CACHE_SECONDS.
        """
        self.wants_addresses = False
        now = monotonic()
        self._dns_ms = round((now - self._looked_up_from) * 1000)
        gone = now - self._started
        self._end_within(self._seconds - gone, self._limits.connect_timeout - gone)
        listed = ",".join(f"[{one}]" if one.version == 6 else f"{one}" for one in addresses)
        self.curl.setopt(pycurl.RESOLVE, [f"+{self._target.host}:{self._target.port}:{listed}"])

    def not_connected(self) -> Outcome:
        """The outcome if there are no addresses in time."""
        return self.failed(OutcomeKind.TIMED_OUT, self._no_connection())

    def failed(self, kind: OutcomeKind, error: str) -> Outcome:
        return failed(kind, error, duration_ms=self._elapsed_ms(), timings=self._timings())

    def outcome(self, code: int, message: str) -> Outcome:
        """What came of the exchange, by curl's error code (0 if there is none) and message."""
        status = self.curl.getinfo(pycurl.RESPONSE_CODE) if self._has_status(code, message) else 0
        if status >= 200:
            outcome = answered(
                status,
                body=self._body,
                headers=(line.decode("latin-1") for line in self._head),
                retry_after=self._retry_after,
                duration_ms=self._elapsed_ms(),
                timings=self._timings(),
                now=datetime.now(UTC),
            )
            return redacted(outcome, self._secrets)
        return self.failed(*self._failure(code, message))

    def close(self) -> None:
        self.curl.close()

    def _direct(self) -> list[tuple[int, Any]]:
        return [(pycurl.RESOLVER_START_FUNCTION, self._stop_for_addresses)]

    def _through(self, proxy: EgressProxy, ca_bundle: str) -> list[tuple[int, Any]]:
        credentials = proxy.authorization
        return [
            (pycurl.PROXY, proxy.url),
            (pycurl.HTTPPROXYTUNNEL, 1),
            (pycurl.PROXYHEADER, [f"Proxy-Authorization: {credentials}"] if credentials else []),
            (pycurl.HEADEROPT, pycurl.HEADER_SEPARATE),
            (pycurl.PROXY_CAINFO, ca_bundle),
            (pycurl.PROXY_SSLVERSION, pycurl.SSLVERSION_TLSv1_2),
        ]

    def _show(self, certificate: ClientCertificate | None) -> None:
        """Have a new connection show a client certificate; curl keeps to one that has."""
        if certificate == self._certificate:
            return
        self._certificate = certificate
        if certificate is None:
            self.curl.unsetopt(pycurl.SSLCERT_BLOB)
            self.curl.unsetopt(pycurl.SSLKEY_BLOB)
        else:
            self.curl.setopt(pycurl.SSLCERT_BLOB, certificate.chain.encode())
            self.curl.setopt(pycurl.SSLKEY_BLOB, certificate.key.encode())

    def _elapsed_ms(self) -> int:
        return round((monotonic() - self._started) * 1000)

    def _timings(self) -> Timings:
        """By curl's moments, in seconds since the transfer began; one that was not is 0."""
        getinfo = self.curl.getinfo
        ready = getinfo(pycurl.PRETRANSFER_TIME)
        answered = getinfo(pycurl.STARTTRANSFER_TIME) if ready and self._head_bytes else 0.0
        first_byte = _span(ready, answered)
        if not getinfo(pycurl.NUM_CONNECTS):
            return Timings(self._dns_ms, first_byte=first_byte)
        begun = getinfo(pycurl.NAMELOOKUP_TIME) if self._proxy is None else 0.0
        connected, secured = getinfo(pycurl.CONNECT_TIME), getinfo(pycurl.APPCONNECT_TIME)
        return Timings(
            self._dns_ms,
            _span(begun, connected),
            _span(connected, secured),
            first_byte,
        )

    def _end_within(self, timeout: float, connect_timeout: float) -> None:
        if timeout != self._timeout:
            self._timeout = timeout
            self.curl.setopt(pycurl.TIMEOUT_MS, _milliseconds(timeout))
        if connect_timeout != self._connect_timeout:
            self._connect_timeout = connect_timeout
            self.curl.setopt(pycurl.CONNECTTIMEOUT_MS, _milliseconds(connect_timeout))

    def _has_status(self, code: int, message: str) -> bool:
        """Whether there is a final status, which stands whatever is wrong with the body."""
        if self._head_complete or not code:
            return True
        # curl judges how the body is framed while it still reads the head.
        misframed = code == pycurl.E_BAD_CONTENT_ENCODING or message.startswith(
            "Invalid Content-Length"
        )
        return misframed and not self._interim and not self._at_proxy

    def _failure(self, code: int, message: str) -> tuple[OutcomeKind, str]:
        getinfo = self.curl.getinfo
        connected = getinfo(pycurl.PRETRANSFER_TIME) and not self._at_proxy
        if code == pycurl.E_OPERATION_TIMEDOUT and not connected:
            return OutcomeKind.TIMED_OUT, self._no_connection()
        if self._at_proxy or (self._proxy is not None and code in PROXY_NOT_FOUND):
            status = getinfo(pycurl.HTTP_CONNECTCODE)
            answered = status and not 200 <= status < 300
            return refused(status) if answered else PROXY_FAILURES.get(code, NO_ANSWER)
        if self._refused:
            return OutcomeKind.NAME_REFUSED, self._refused
        if self._fault:
            return OutcomeKind.RESPONSE_INVALID, self._fault
        number = getinfo(pycurl.OS_ERRNO)
        peer = self._peer()
        if code == pycurl.E_COULDNT_CONNECT and number == errno.ECONNREFUSED:
            return OutcomeKind.CONNECTION_FAILED, f"connection refused by {peer}"
        if code == pycurl.E_RECV_ERROR and "SSL routines::" in message:
            # In TLS 1.3 a client certificate is refused once the handshake is over.
            code = pycurl.E_SSL_CONNECT_ERROR
        kind, error = FAILURES.get(code, CONNECTION_LOST)
        return kind, error.format(
            host=self._target.host,
            peer=peer,
            reason=os.strerror(number).lower() if number else "connection lost",
            # What comes before tells where in curl and OpenSSL it was noticed.
            message=message.rpartition(": ")[2].rpartition("routines::")[2].partition(", errno")[0],
        )

    def _no_connection(self) -> str:
        return f"no connection within {self._limits.connect_timeout:g} s"

    def _peer(self) -> str:
        if self._address is None:
            return self._target.host
        host, port, *_ = self._address
        return authority(host, port)

    def _stop_for_addresses(self) -> int:
        """Keep curl from asking the system's resolver, of whose answers it would show us one."""
        self.wants_addresses = not self._target.is_literal
        self._looked_up_from = monotonic()
        return int(self.wants_addresses)

    def _open_socket(self, purpose: int, peer: Any) -> Any:
        """Judge the address once more that is connected to, right before the connect."""
        if self._proxy is not None:
            self._at_proxy = True
            self._tunnelled = False
            return _socket(peer)
        self._address = peer.addr
        host, _, *flow_and_scope = peer.addr
        scope = flow_and_scope[1] if flow_and_scope else 0
        where = refusal(ip_address(f"{host}%{scope}" if scope else host), self._policy)
        if where:
            self._refused = f"{self._target.host} resolves to an address in {where}"
        # One that is refused refuses the name: those that follow it are not tried either.
        if self._refused:
            return pycurl.SOCKET_BAD
        return _socket(peer)

    def _take_head(self, line: bytes) -> int | None:
        """Take a line of an interim response, of the head or of the trailers."""
        self._head_bytes += len(line)
        if self._head_bytes > self._limits.max_header_bytes:
            self._fault = HEAD_TOO_LONG
            return -1
        if self._head_complete:
            return None
        if self._at_proxy:
            self._leave_proxy(line)
        elif line[:5] == b"HTTP/":
            self._head.clear()  # of an interim response
            status = line.partition(b" ")[2]
            self._interim = status[:1] == b"1"
            if status[:3] == b"101":
                self._fault = "invalid response: switched protocols unasked"
                return -1
            if not status[3:4].isspace():
                self._fault = NOT_HTTP
                return -1
        elif line == b"\r\n" or line == b"\n":
            self._head_complete = not self._interim
        else:
            self._head.append(line)
            if line[:12].lower() == b"retry-after:":
                self._retry_after = line[12:].strip().decode("latin-1")
        return None

    def _leave_proxy(self, line: bytes) -> None:
        """Take a line of the proxy's answer: what follows a 2xx is the endpoint's."""
        if line[:5] == b"HTTP/":
            self._tunnelled = line.partition(b" ")[2][:1] == b"2"
        elif line == b"\r\n" or line == b"\n":
            self._at_proxy = not self._tunnelled
            self._head_bytes = 0

    def _take_body(self, piece: bytes) -> int | None:
        room = self._kept_bytes - self._body_bytes
        self._body_bytes += len(piece)
        if room > 0:
            self._body += piece[:room]
        return -1 if self._body_bytes > self._limits.max_response_bytes else None

    def _take_step(self, *_: int) -> bool:
        """Cut what goes on and on, even if it is no body, as the extensions of a chunk."""
        self._steps += self._head_complete
        return self._steps > MAX_STEPS


def _socket(peer: Any) -> Any:
    try:
        return socket.socket(peer.family, peer.socktype, peer.protocol)
    except OSError:
        # As for an IPv6 address where there is no IPv6: curl goes on to the next.
        return pycurl.SOCKET_BAD


def _close_on_exec(descriptor: int, purpose: int) -> int:
    # pycurl duplicates the socket that it is given, and the copy would be inherited.
    os.set_inheritable(descriptor, False)
    return 0


def _span(begun: float, ended: float) -> int | None:
    """The milliseconds between two of curl's moments; None where it did not come to the second."""
    return max(0, round((ended - begun) * 1000)) if ended else None


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
