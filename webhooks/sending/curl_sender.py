"""The sender that uses curl: many exchanges at once, on an event loop. It needs Linux (epoll)."""

import logging
import os
import select
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import lru_cache, partial
from threading import Lock
from time import monotonic
from typing import Protocol

import certifi
import pycurl

from webhooks.addresses import Address, AddressPolicy, InvalidEndpointUrl, parse_url
from webhooks.sending.credentials import ClientCredentials
from webhooks.sending.exchange import ExchangeFailed
from webhooks.sending.headers import InvalidHeader, check_headers
from webhooks.sending.names import Names, Resolve, resolve
from webhooks.sending.outcome import Limits, Outcome, OutcomeKind, OutgoingRequest, failed
from webhooks.sending.proxy import EgressProxy
from webhooks.sending.tokens import Answer, Tokens, authorized
from webhooks.sending.transfer import Done, Transfer

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 1000
MAX_CONNECTIONS_PER_HOST = 200
"""An exchange over these waits for a connection, and the wait counts towards its timeouts."""
MAX_FREE_TRANSFERS = 250
MAX_PARSED_URLS = 1000

EVENTS = {
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}
ACTIONS = {
    select.EPOLLIN: pycurl.CSELECT_IN,
    select.EPOLLOUT: pycurl.CSELECT_OUT,
}
ANY_ACTION = pycurl.CSELECT_IN | pycurl.CSELECT_OUT


class Timer(Protocol):
    def cancel(self) -> object: ...


class Loop(Protocol):
    """What is needed of an event loop; kombu's Hub is one. It calls from one thread only."""

    def add_reader(self, fd: int, callback: Callable[[], None], /) -> object: ...

    def remove(self, fd: int, /) -> object: ...

    def call_later(self, seconds: float, callback: Callable[[], None], /) -> Timer: ...


class CurlSender:
    """POSTs requests over kept-alive connections. It must be used from its loop's thread only.

    The sockets are watched by an epoll of its own, which is all that the loop watches: kombu's Hub
    cannot wait for a socket to become readable or writable, only for one of the two.

    `ca_bundle` is a PEM file of certificates to trust in place of certifi's. With a `proxy` the
    addresses that a name has are the proxy's to judge.
    """

    def __init__(
        self,
        *,
        policy: AddressPolicy,
        limits: Limits,
        user_agent: str,
        loop: Loop,
        ca_bundle: str | None = None,
        proxy: EgressProxy | None = None,
        resolve: Resolve = resolve,
    ) -> None:
        self._loop = loop
        self._limits = limits
        # A token takes half the time at most, which leaves the other half to those who wait for it.
        self._tokens = Tokens(self._start, timeout=limits.timeout / 2)
        self._parse_url = lru_cache(MAX_PARSED_URLS)(partial(parse_url, policy=policy))
        self._new_transfer = partial(
            Transfer,
            policy=policy,
            limits=limits,
            user_agent=user_agent,
            ca_bundle=ca_bundle or certifi.where(),
            proxy=proxy,
        )
        self._free: list[Transfer] = []
        self._active: dict[pycurl.Curl, Transfer] = {}
        self._unsent: list[tuple[Done, Outcome]] = []
        self._names = Names(policy, resolve)
        # By the host whose name is being looked up.
        self._waiting: dict[str, dict[Transfer, Timer]] = {}
        self._looked_up: deque[tuple[str, Future[list[Address]]]] = deque()
        self._closing = Lock()
        self._closed = False
        self._timer: Timer | None = None
        self._timer_due = 0.0
        self._curl_due: float | None = None
        # Rung where something is to be done at once: kombu's Hub may sleep for a second before it
        # gets to what it is asked to call soon.
        self._alarm = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._rung = False
        self._poller = select.epoll()
        self._poller.register(self._alarm, select.EPOLLIN)
        self._watched: set[int] = set()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_curl_due)
        self._multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, MAX_CONNECTIONS)
        self._multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, MAX_CONNECTIONS_PER_HOST)
        self._multi.setopt(pycurl.M_MAXCONNECTS, MAX_CONNECTIONS)
        loop.add_reader(self._poller.fileno(), self._on_events)

    @property
    def in_flight(self) -> int:
        """How many exchanges have been started and have not ended."""
        waiting = sum(map(len, self._waiting.values()))
        return len(self._active) + waiting + len(self._unsent)

    def start(self, request: OutgoingRequest, done: Done) -> None:
        """POST, and have the loop tell `done` what came of it, whatever goes wrong.

        `done` is called once, and never before `start` returns. What it raises is logged.
        """
        grant = request.credentials and request.credentials.oauth2
        if grant:
            self._tokens.get(grant, partial(self._go_on, request, grant, done, monotonic()))
        else:
            self._start(request, done)

    def watch_again(self) -> None:
        """Go on after the loop has been reset, and has forgotten what it was to call."""
        self._loop.add_reader(self._poller.fileno(), self._on_events)
        self._timer = None
        for waiting in self._waiting.values():
            for transfer in waiting:
                waiting[transfer] = self._timer_of(transfer)
        self._ring()

    def close(self) -> None:
        """Close all connections. What is in flight is dropped: its `done` is not called."""
        if self._closed:
            return
        self._loop.remove(self._poller.fileno())
        if self._timer is not None:
            self._timer.cancel()
        waiting = {
            transfer: timer for one in self._waiting.values() for transfer, timer in one.items()
        }
        for timer in waiting.values():
            timer.cancel()
        for curl in self._active:
            self._multi.remove_handle(curl)
        self._multi.close()
        for transfer in (*self._active.values(), *waiting, *self._free):
            transfer.close()
        self._active.clear()
        self._waiting.clear()
        self._free.clear()
        self._unsent.clear()
        self._poller.close()
        with self._closing:
            self._closed = True
            os.close(self._alarm)
        self._names.close()

    def _start(self, request: OutgoingRequest, done: Done) -> None:
        try:
            target = self._parse_url(request.url)
            check_headers(request.headers)
            if request.credentials is not None:
                check_headers(request.credentials.headers)
        except InvalidEndpointUrl as error:
            self._refuse(done, OutcomeKind.ADDRESS_REFUSED, str(error))
            return
        except InvalidHeader as error:
            self._refuse(done, OutcomeKind.UNRENDERABLE, str(error))
            return
        transfer = self._free.pop() if self._free else self._new_transfer()
        transfer.begin(request, target, done)
        self._add(transfer)
        # Begun here rather than a turn of the loop later, which is felt when little is going on.
        if self._run(pycurl.SOCKET_TIMEOUT, 0):
            self._ring()
        self._set_timer()

    def _add(self, transfer: Transfer) -> None:
        self._active[transfer.curl] = transfer
        self._multi.add_handle(transfer.curl)

    def _go_on(
        self,
        request: OutgoingRequest,
        grant: ClientCredentials,
        done: Done,
        began: float,
        token: Answer,
    ) -> None:
        """Send a request, with the token that it waited for since it `began`."""
        if isinstance(token, Outcome):
            done(token)
            return

        def ended(outcome: Outcome) -> None:
            if outcome.status == 401:
                self._tokens.forget(grant, token)
            done(outcome)

        left = self._limits.timeout - (monotonic() - began)
        self._start(authorized(request, token, timeout=left), ended)

    def _look_up(self, transfer: Transfer) -> None:
        """Have a transfer wait for its host's addresses, while it still may be connected."""
        waiting = self._waiting.get(transfer.host)
        if waiting is None:
            waiting = self._waiting[transfer.host] = {}
            look_up = self._names.look_up(transfer.host)
            look_up.add_done_callback(partial(self._end_look_up, transfer.host))
        waiting[transfer] = self._timer_of(transfer)

    def _timer_of(self, transfer: Transfer) -> Timer:
        """What gives a waiting transfer up when it must be connected."""
        seconds = max(0.0, transfer.seconds_to_connect())
        return self._loop.call_later(seconds, partial(self._give_up, transfer))

    def _give_up(self, transfer: Transfer) -> None:
        del self._waiting[transfer.host][transfer]
        self._unsent.append((transfer.done, transfer.not_connected()))
        self._release(transfer)
        self._ring()

    def _end_look_up(self, host: str, look_up: Future[list[Address]]) -> None:
        """Called in the thread of the look-up."""
        self._looked_up.append((host, look_up))
        with self._closing:
            if not self._closed:
                os.eventfd_write(self._alarm, 1)

    def _go_on_connecting(self) -> None:
        while self._looked_up:
            host, look_up = self._looked_up.popleft()
            for transfer, timer in self._waiting.pop(host).items():
                timer.cancel()
                try:
                    transfer.go_on(look_up.result())
                except ExchangeFailed as error:
                    self._unsent.append((transfer.done, transfer.failed(error.kind, error.error)))
                    self._release(transfer)
                else:
                    self._add(transfer)

    def _release(self, transfer: Transfer) -> None:
        if len(self._free) < MAX_FREE_TRANSFERS:
            self._free.append(transfer)
        else:
            transfer.close()

    def _refuse(self, done: Done, kind: OutcomeKind, error: str) -> None:
        self._unsent.append((done, failed(kind, error, duration_ms=0)))
        self._ring()

    def _ring(self) -> None:
        if not self._rung:
            self._rung = True
            os.eventfd_write(self._alarm, 1)

    # What the loop calls

    def _on_events(self) -> None:
        ended = False
        for descriptor, events in self._poller.poll(0):
            if descriptor == self._alarm:
                os.eventfd_read(self._alarm)
                self._rung = False
                self._go_on_connecting()
                ended = self._run(pycurl.SOCKET_TIMEOUT, 0)
            else:
                ended = self._run(descriptor, ACTIONS.get(events, ANY_ACTION))
        outcomes, self._unsent = self._unsent, []
        if ended:
            outcomes += self._end_transfers()
        for done, outcome in outcomes:
            try:
                done(outcome)
            except Exception:
                logger.exception("an outcome was not taken")
            if self._closed:
                return
        self._set_timer()

    def _on_timer(self) -> None:
        self._timer = None
        self._ring()

    def _set_timer(self) -> None:
        """See that curl is called in time. A timer that is too early costs less than a new one."""
        due = self._curl_due
        if due is None or (self._timer is not None and self._timer_due <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        seconds = due - monotonic()
        if seconds > 0:
            self._timer_due = due
            self._timer = self._loop.call_later(seconds, self._on_timer)
        else:
            self._ring()

    # What curl calls

    def _watch(self, what: int, descriptor: int, *_: object) -> None:
        if what == pycurl.POLL_REMOVE:
            self._watched.discard(descriptor)
            self._poller.unregister(descriptor)
        elif descriptor in self._watched:
            self._poller.modify(descriptor, EVENTS[what])
        else:
            self._watched.add(descriptor)
            self._poller.register(descriptor, EVENTS[what])

    def _set_curl_due(self, milliseconds: int) -> None:
        self._curl_due = None if milliseconds < 0 else monotonic() + milliseconds / 1000

    # Through curl

    def _run(self, descriptor: int, action: int) -> bool:
        """Let curl go on; tells whether there are transfers that have ended."""
        _, running = self._multi.socket_action(descriptor, action)
        return bool(running < len(self._active))

    def _end_transfers(self) -> list[tuple[Done, Outcome]]:
        ended: list[tuple[pycurl.Curl, int, str]] = []
        left = 1
        while left:
            left, whole, broken = self._multi.info_read()
            ended += [(curl, 0, "") for curl in whole]
            ended += broken
        outcomes = []
        for curl, code, message in ended:
            self._multi.remove_handle(curl)
            transfer = self._active.pop(curl)
            if transfer.wants_addresses:
                self._look_up(transfer)
                continue
            outcomes.append((transfer.done, transfer.outcome(code, message)))
            self._release(transfer)
        return outcomes
