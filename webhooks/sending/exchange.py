"""What one exchange may take, and the sockets that hold every call to it."""

import os
import socket
import ssl
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from webhooks.sending.credentials import ClientCertificate
from webhooks.sending.outcome import OutcomeKind, Timings


class ExchangeFailed(Exception):
    """There will be no response; `args` is the kind of the outcome and its error."""

    def __init__(self, kind: OutcomeKind, error: str) -> None:
        super().__init__(kind, error)
        self.kind = kind
        self.error = error


class Deadline:
    """A moment on the monotonic clock, some seconds from now."""

    def __init__(self, seconds: float) -> None:
        self._moment = monotonic() + seconds

    def seconds_left(self) -> float:
        """Always more than 0: raises TimeoutError once the moment has come."""
        left = self._moment - monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left


class Stopwatch:
    """Takes the time of one step after another; a step is named when it has ended."""

    def __init__(self) -> None:
        self._last = monotonic()
        self._taken: dict[str, int] = {}

    def ended(self, step: str) -> None:
        now = monotonic()
        self._taken[step] = round((now - self._last) * 1000)
        self._last = now

    def timings(self) -> Timings:
        return Timings(**self._taken)


@dataclass(slots=True)
class Exchange:
    """One request and its response, as their sockets see them."""

    deadline: Deadline
    max_received: int
    received: int = 0
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    def take(self, count: int) -> None:
        """Note that so many bytes of the response have come."""
        if count and not self.received:
            self.stopwatch.ended("first_byte")
        self.received += count


class GuardedSocket(socket.socket):
    """A socket that ends every call by the deadline of its exchange.

    A timeout alone starts anew with each byte that an endpoint cares to send.
    """

    exchange: Exchange

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self._prepare_to_receive()
        count = super().recv_into(*args, **kwargs)
        self.exchange.take(count)
        return count

    def recv(self, *args: Any, **kwargs: Any) -> bytes:
        self._prepare_to_receive()
        data = super().recv(*args, **kwargs)
        self.exchange.take(len(data))
        return data

    def send(self, *args: Any, **kwargs: Any) -> int:
        self._set_timeout()
        return super().send(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self._set_timeout()
        super().sendall(*args, **kwargs)

    def _prepare_to_receive(self) -> None:
        if self.exchange.received >= self.exchange.max_received:
            raise ExchangeFailed(OutcomeKind.RESPONSE_INVALID, "the response's head is too long")
        self._set_timeout()

    def _set_timeout(self) -> None:
        self.settimeout(self.exchange.deadline.seconds_left())


class GuardedTLSSocket(GuardedSocket, ssl.SSLSocket):
    """The same over TLS. Its handshake keeps to the timeout of the socket it is made from."""


def tls_context(ca_bundle: str, certificate: ClientCertificate | None = None) -> ssl.SSLContext:
    """A context that trusts the certificates in a PEM file, and none of the system's.

    It shows the server `certificate`, if it asks for one. Raises ssl.SSLError where that is none.
    """
    context = ssl.create_default_context(cafile=ca_bundle)
    context.hostname_checks_common_name = False
    context.sslsocket_class = GuardedTLSSocket
    if certificate is not None:
        load_certificate(context, certificate)
    return context


def load_certificate(context: ssl.SSLContext, certificate: ClientCertificate) -> None:
    """Have connections show a client certificate. Raises ssl.SSLError where it cannot be used."""
    # The ssl module reads files only, and the key must not lie on a disk.
    with open(os.memfd_create("client-certificate"), "w", encoding="utf-8") as file:
        file.write(f"{certificate.key}\n{certificate.chain}\n")
        file.flush()
        # Without a password it would ask for one on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password="")
