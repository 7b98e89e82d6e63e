"""From a host name to the addresses that it has now, none of which may be forbidden."""

import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from ipaddress import ip_address
from threading import Lock

from webhooks.addresses import Address, AddressPolicy, refusal
from webhooks.sending.exchange import ExchangeFailed
from webhooks.sending.outcome import OutcomeKind

Resolve = Callable[[str], Sequence[str]]
"""A host name's addresses; raises OSError if there are none."""

# A look-up cannot be ended, only left behind: so many names may hang before others must wait.
MAX_LOOK_UPS = 32
MAX_FOUND = 10_000


def resolve(host: str) -> list[str]:
    """Ask the system's resolver."""
    answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in answers))


class Names:
    """Looks names up in threads, and holds what it finds to the policy.

    A name that was found the last time has threads at its disposal that no other can take: names
    that hang, however many, are soon out of the way of those that do not.
    """

    def __init__(self, policy: AddressPolicy, resolve: Resolve) -> None:
        self._policy = policy
        self._resolve = resolve
        self._threads = {
            found: ThreadPoolExecutor(MAX_LOOK_UPS, thread_name_prefix="look-up")
            for found in (True, False)
        }
        self._found: dict[str, bool] = {}
        self._lock = Lock()

    def look_up(self, host: str) -> Future[list[Address]]:
        """A name's addresses, one at least; ExchangeFailed if it has none, or a forbidden one."""
        with self._lock:
            found = self._found.pop(host, False)
        return self._threads[found].submit(self._find, host)

    def close(self) -> None:
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)

    def _find(self, host: str) -> list[Address]:
        addresses = self._addresses(host)
        with self._lock:
            while len(self._found) >= MAX_FOUND:
                del self._found[next(iter(self._found))]
            self._found[host] = True
        return addresses

    def _addresses(self, host: str) -> list[Address]:
        try:
            addresses = [ip_address(text) for text in self._resolve(host)]
        except (OSError, ValueError) as error:
            raise ExchangeFailed(
                OutcomeKind.NAME_NOT_RESOLVED, f"{host} is not found by name"
            ) from error
        if not addresses:
            raise ExchangeFailed(OutcomeKind.NAME_NOT_RESOLVED, f"{host} has no address")
        for address in addresses:
            if where := refusal(address, self._policy):
                raise ExchangeFailed(
                    OutcomeKind.NAME_REFUSED, f"{host} resolves to an address in {where}"
                )
        return addresses
