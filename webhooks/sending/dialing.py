"""From a host to a connection, through the address policy."""

import socket
from contextlib import suppress
from ipaddress import ip_address

from webhooks.addresses import Address, AddressPolicy, authority
from webhooks.sending.exchange import Deadline, ExchangeFailed, GuardedSocket, Stopwatch
from webhooks.sending.names import Names, Resolve
from webhooks.sending.outcome import OutcomeKind


class Dialer:
    """Opens connections to allowed addresses only, each within `timeout` seconds."""

    def __init__(self, policy: AddressPolicy, *, timeout: float, resolve: Resolve) -> None:
        self.timeout = timeout
        self._names = Names(policy, resolve)

    def dial(self, host: str, port: int, deadline: Deadline, stopwatch: Stopwatch) -> GuardedSocket:
        """Connect to an address of a URL that is allowed, or to one that its name has now.

        A name is looked up once, and what was judged is connected to, so that one which resolves
        anew to another address (DNS rebinding) gains nothing. Raises OSError, ExchangeFailed.
        """
        deadline = Deadline(min(self.timeout, deadline.seconds_left()))
        *others, last = self._addresses(host, deadline, stopwatch)
        sock = self._connect_to_one(others, last, port, deadline)
        stopwatch.ended("connect")
        return sock

    def close(self) -> None:
        self._names.close()

    def _connect_to_one(
        self, others: list[Address], last: Address, port: int, deadline: Deadline
    ) -> GuardedSocket:
        for left, address in zip(range(len(others) + 1, 1, -1), others, strict=True):
            with suppress(OSError, ExchangeFailed):
                return _connect(address, port, deadline, deadline.seconds_left() / left)
        return _connect(last, port, deadline, deadline.seconds_left())

    def _addresses(self, host: str, deadline: Deadline, stopwatch: Stopwatch) -> list[Address]:
        try:
            return [ip_address(host)]
        except ValueError:
            look_up = self._names.look_up(host)
        try:
            addresses = look_up.result(deadline.seconds_left())
        except TimeoutError:
            look_up.cancel()
            raise
        stopwatch.ended("dns")
        return addresses


def _connect(address: Address, port: int, deadline: Deadline, seconds: float) -> GuardedSocket:
    """Connect within some seconds, and leave the socket with the timeout of the deadline."""
    sock = GuardedSocket(socket.AF_INET if address.version == 4 else socket.AF_INET6)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(seconds)
        sock.connect((str(address), port))
        sock.settimeout(deadline.seconds_left())
    except OSError as error:
        sock.close()
        if isinstance(error, TimeoutError):
            raise
        peer = authority(str(address), port)
        reason = (
            f"connection refused by {peer}"
            if isinstance(error, ConnectionRefusedError)
            else f"no connection to {peer}: {(error.strerror or 'network error').lower()}"
        )
        raise ExchangeFailed(OutcomeKind.CONNECTION_FAILED, reason) from error
    return sock
