"""From a host name to a connection, through the address policy."""

import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

from webhooks.addresses import Address, AddressPolicy, refusal
from webhooks.sending.exchange import Deadline, ExchangeFailed, GuardedSocket
from webhooks.sending.outcome import OutcomeKind

Resolve = Callable[[str], Sequence[str]]
"""A host name's addresses; raises OSError if there are none."""

# A look-up cannot be ended, only left behind: so many names may hang before others must wait.
MAX_LOOK_UPS = 32


def resolve(host: str) -> list[str]:
    """Ask the system's resolver."""
    answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in answers))


class Dialer:
    """Opens connections to allowed addresses only, each within `timeout` seconds."""

    def __init__(self, policy: AddressPolicy, *, timeout: float, resolve: Resolve) -> None:
        self.timeout = timeout
        self._policy = policy
        self._resolve = resolve
        self._look_ups = ThreadPoolExecutor(MAX_LOOK_UPS, thread_name_prefix="look-up")

    def dial(self, host: str, port: int, deadline: Deadline) -> GuardedSocket:
        """Connect to an address that the name has now.

        It is looked up once and all its addresses are judged, so that a name which resolves anew
        to another address (DNS rebinding) gains nothing. Raises OSError, ExchangeFailed.
        """
        deadline = Deadline(min(self.timeout, deadline.seconds_left()))
        addresses = self._addresses(host, deadline)
        for address in addresses:
            if where := refusal(address, self._policy):
                raise ExchangeFailed(
                    OutcomeKind.NAME_REFUSED, f"{host} resolves to an address in {where}"
                )
        failure: Exception = ExchangeFailed(OutcomeKind.NAME_NOT_RESOLVED, f"{host} has no address")
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            try:
                return _connect(address, port, deadline, deadline.seconds_left() / left)
            except (OSError, ExchangeFailed) as error:
                failure = error
        raise failure

    def close(self) -> None:
        self._look_ups.shutdown(wait=False, cancel_futures=True)

    def _addresses(self, host: str, deadline: Deadline) -> list[Address]:
        try:
            return [ip_address(host)]
        except ValueError:
            look_up = self._look_ups.submit(self._resolve, host)
        try:
            return [ip_address(text) for text in look_up.result(deadline.seconds_left())]
        except TimeoutError:
            look_up.cancel()
            raise
        except (OSError, ValueError) as error:
            raise ExchangeFailed(
                OutcomeKind.NAME_NOT_RESOLVED, f"{host} is not found by name"
            ) from error


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
        peer = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
        reason = (
            f"connection refused by {peer}"
            if isinstance(error, ConnectionRefusedError)
            else f"no connection to {peer}: {(error.strerror or 'network error').lower()}"
        )
        raise ExchangeFailed(OutcomeKind.CONNECTION_FAILED, reason) from error
    return sock
