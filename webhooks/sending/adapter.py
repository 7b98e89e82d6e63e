"""The transport of requests, on guarded connections: requests' adapter over urllib3's pools."""

import http.client
import ssl
from functools import lru_cache, partial
from time import monotonic
from typing import Any

import urllib3
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HeaderParsingError, SSLError
from urllib3.response import BaseHTTPResponse
from urllib3.util import ssl_wrap_socket
from urllib3.util.response import assert_header_parsing
from urllib3.util.ssltransport import SSLTransport

from webhooks.sending.dialing import Dialer
from webhooks.sending.exchange import Exchange, ExchangeFailed, GuardedSocket, tls_context
from webhooks.sending.outcome import OutcomeKind
from webhooks.sending.tunnel import TunnelDialer

MAX_INTERIM_RESPONSES = 10
KEPT_HOSTS = 200
KEPT_CONNECTIONS_PER_HOST = 32
KEPT_CERTIFICATES = 50
"""TLS contexts: one without a client certificate, and one for each."""


class ExchangeTimeout(urllib3.Timeout):
    """Carries an exchange through requests and urllib3 down to the connection."""

    def __init__(self, exchange: Exchange, seconds: float) -> None:
        super().__init__(seconds)
        self.exchange = exchange
        self._seconds = seconds

    def clone(self) -> "ExchangeTimeout":
        return ExchangeTimeout(self.exchange, self._seconds)


class FinalResponse(http.client.HTTPResponse):
    """A response after the interim ones (RFC 9110 15.2): http.client takes 102 and 103 as final."""

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(MAX_INTERIM_RESPONSES + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status >= 200:
                return version, status, reason
            if status == http.HTTPStatus.SWITCHING_PROTOCOLS:
                raise http.client.HTTPException("switched protocols unasked")
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException("too many interim responses")

    def begin(self) -> None:
        super().begin()
        try:
            assert_header_parsing(self.msg)
        except HeaderParsingError as error:
            # urllib3 would log it with the URL, and lose the headers that follow.
            raise http.client.HTTPException("malformed header") from error
        lengths = ",".join(self.msg.get_all("content-length", ())).split(",")
        if len({length.strip() for length in lengths}) > 1:
            # urllib3 would fail, but the status stands.
            del self.msg["content-length"]
            self.will_close = True


class GuardedConnection(HTTPConnection):
    """A connection to an address that the dialer has judged, lent to one exchange at a time."""

    response_class = FinalResponse
    sock: Any
    """A guarded one, or the transport of TLS within one; None while not connected."""
    exchange: Exchange

    def __init__(
        self, *args: Any, dialer: Dialer | TunnelDialer, keep_alive: float, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._dialer = dialer
        self._keep_alive = keep_alive
        self._last_used = 0.0

    def begin(self, exchange: Exchange) -> bool:
        """Lend the connection to an exchange; tells whether it is open already."""
        now = monotonic()
        # What lies between may have forgotten an idle connection, and drop all that is sent on it.
        if now - self._last_used > self._keep_alive:
            self.close()
        self._last_used = now
        self.exchange = exchange
        self._bind_socket()
        return self.sock is not None

    def connect(self) -> None:
        try:
            self._open()
        except TimeoutError as error:
            raise ExchangeFailed(
                OutcomeKind.TIMED_OUT, f"no connection within {self._dialer.timeout:g} s"
            ) from error
        self._bind_socket()

    def _open(self) -> None:
        super().connect()

    def _bind_socket(self) -> None:
        guarded: Any = self.sock.socket if isinstance(self.sock, SSLTransport) else self.sock
        if guarded is not None:
            guarded.exchange = self.exchange

    def _new_conn(self) -> GuardedSocket:
        exchange = self.exchange
        return self._dialer.dial(self.host, self.port, exchange.deadline, exchange.stopwatch)


class GuardedTLSConnection(GuardedConnection, HTTPSConnection):
    """The same over TLS, be it inside that of the egress proxy."""

    def _open(self) -> None:
        self.sock = self._new_conn()
        self.sock = ssl_wrap_socket(
            self.sock,
            ssl_context=self.ssl_context,
            server_hostname=self.host,
            tls_in_tls=isinstance(self.sock, ssl.SSLSocket),
        )
        self.exchange.stopwatch.ended("tls")
        self.is_verified = True


class GuardedPool(HTTPConnectionPool):
    """A host's connections. All that goes wrong on one is raised as ExchangeFailed."""

    ConnectionCls = GuardedConnection

    def _make_request(  # type: ignore[override]
        self,
        conn: GuardedConnection,
        method: str,
        url: str,
        *,
        timeout: ExchangeTimeout,
        **options: Any,
    ) -> BaseHTTPResponse:
        exchange = timeout.exchange
        reused = conn.begin(exchange)
        request = partial(super()._make_request, conn, method, url, timeout=timeout, **options)
        try:
            try:
                return request()
            except (ConnectionError, ssl.SSLError):
                # The endpoint may close an idle connection just as the request sets out on it
                # (RFC 9112 9.3.1). Deliveries are at least once: one more try does no harm.
                if not reused or exchange.received:
                    raise
                conn.close()
                return request()
        except Exception as error:
            raise as_failure(error) from error


class GuardedTLSPool(GuardedPool, HTTPSConnectionPool):
    ConnectionCls = GuardedTLSConnection


class GuardedAdapter(HTTPAdapter):
    """Sends through guarded pools. It is thread-safe, as they are; a requests.Session is not."""

    def __init__(self, dialer: Dialer | TunnelDialer, *, ca_bundle: str, keep_alive: float) -> None:
        self._pool_classes = {
            scheme: partial(pool, dialer=dialer, keep_alive=keep_alive)
            for scheme, pool in (("http", GuardedPool), ("https", GuardedTLSPool))
        }
        self._tls = lru_cache(KEPT_CERTIFICATES)(partial(tls_context, ca_bundle))
        super().__init__(KEPT_HOSTS, KEPT_CONNECTIONS_PER_HOST)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._tls(), **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pool_classes

    def build_connection_pool_key_attributes(
        self, request: PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        """Give each client certificate pools of its own: a connection is its owner's alone."""
        host, options = super().build_connection_pool_key_attributes(request, verify)
        if cert is not None:
            options["ssl_context"] = self._tls(cert)
        return host, options

    def cert_verify(self, *_: object) -> None:
        """Leave the pool as it is: its TLS context verifies, and has its certificates already."""

    def build_response(self, req: PreparedRequest, resp: BaseHTTPResponse) -> Response:
        """Leave the cookies out: http.cookiejar prints a traceback where it fails to read one."""
        response = Response()
        response.request = req
        response.status_code = resp.status
        response.headers = CaseInsensitiveDict(resp.headers)
        response.raw = resp
        return response


def as_failure(error: Exception) -> ExchangeFailed:
    """What an exception of http.client, ssl, urllib3 or any other source means for an exchange."""
    match error:
        case ExchangeFailed():
            return error
        case TimeoutError() | urllib3.exceptions.TimeoutError():
            return ExchangeFailed(OutcomeKind.TIMED_OUT, "no response in time")
        case SSLError(args=[ssl.SSLError() as cause, *_]):
            return as_failure(cause)
        case ssl.SSLCertVerificationError():
            return ExchangeFailed(
                OutcomeKind.TLS_FAILED, f"certificate not accepted: {error.verify_message}"
            )
        case ssl.SSLError():
            reason = (error.reason or "TLS error").replace("_", " ").lower()
            return ExchangeFailed(OutcomeKind.TLS_FAILED, f"TLS failed: {reason}")
        case http.client.RemoteDisconnected():
            return ExchangeFailed(
                OutcomeKind.CONNECTION_FAILED, "connection closed without a response"
            )
        case http.client.BadStatusLine() | http.client.UnknownProtocol():
            return ExchangeFailed(OutcomeKind.RESPONSE_INVALID, "the response is not HTTP/1.1")
        case http.client.HTTPException():
            return ExchangeFailed(OutcomeKind.RESPONSE_INVALID, f"invalid response: {error}")
        case OSError():
            reason = (error.strerror or "connection lost").lower()
            return ExchangeFailed(OutcomeKind.CONNECTION_FAILED, reason)
        case _:
            # Its message might hold a header's value.
            return ExchangeFailed(
                OutcomeKind.CONNECTION_FAILED, f"failed with {type(error).__name__}"
            )
