"""A ledger: what was emitted for an endpoint against what it accepted, with things breaking."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from deliveries.emit import emit
from deliveries.models import Delivery
from tests.processes import wait_until
from tests.receiver import Answer, Received, Receiver

Decide = Callable[[Received, int], Answer]
"""What an endpoint says to a request and its number, from 1."""


@dataclass(frozen=True, slots=True)
class Balance:
    """What a fault came to: a row of the table in docs/reliability.md."""

    fault: str
    lane: str
    emitted: int
    received: int
    lost: int
    doubled: int
    """How many more than once each were received."""
    in_flight: int
    """How many deliveries were being sent when it broke."""
    recovery: float
    """Seconds from then, or from when it was mended, until all had arrived."""


class Ledger:
    """The events of one type, and one endpoint's path, to which they go."""

    def __init__(
        self,
        receiver: Receiver,
        lane: str,
        balances: list[Balance],
        type: str = "ledger.entry",
        path: str = "/hook",
        patience: float = 90,
    ) -> None:
        self.receiver = receiver
        self.lane = lane
        self.balances = balances
        self.type = type
        self.path = path
        self.patience = patience
        self.emitted: set[str] = set()
        self.in_flight: set[str] = set()
        self.recovers_since = time.monotonic()

    @property
    def url(self) -> str:
        return self.receiver.url(self.path)

    def answer(self, decide: Decide) -> None:
        """Have the endpoint answer so; it accepts everything otherwise."""
        self.receiver.answers[self.path] = decide

    def emit(self, count: int, **options: Any) -> None:
        first = len(self.emitted)
        self.emitted |= {
            emit(self.type, {"n": number}, **options).pk for number in range(first, first + count)
        }

    def broken(self) -> None:
        """Something has just been broken: note what was being sent then, as the rows say."""
        self.recovers_since = time.monotonic()
        sending = Delivery.objects.filter(
            Q(state="sending") | Q(lead__state="sending"), event__type=self.type
        )
        self.in_flight |= set(sending.values_list("event_id", flat=True))

    def mended(self) -> None:
        """It works again, from now on."""
        self.recovers_since = time.monotonic()

    def accepted(self) -> Counter[str]:
        """How many times the endpoint has said 2xx to each event.

        A worker of another run may still send to a port that was once its receiver's.
        """
        accepted: Counter[str] = Counter()
        for request in list(self.receiver.received):
            if request.path == self.path and request.accepted:
                accepted.update(self.emitted.intersection(events_of(request)))
        return accepted

    def under_way(self) -> bool:
        """Whether there is something left to deliver."""
        return Delivery.objects.filter(event__type=self.type, ended_at=None).exists()

    def close(self, fault: str) -> Balance:
        """Wait until all is delivered, and strike the balance, which is noted for the table.

        Nothing may be lost, and nothing doubled but what was in flight when it broke, once each.
        """
        try:
            wait_until(lambda: not self.under_way(), "every delivery", self.patience, pause=0.1)
        finally:
            # What goes wrong is noted as well, in place of what went right once.
            balance = self._balance(fault)
            self.balances.append(balance)
        assert balance.lost == 0
        assert {event for event, times in self.accepted().items() if times > 1} <= self.in_flight
        assert balance.doubled <= balance.in_flight
        return balance

    def _balance(self, fault: str) -> Balance:
        accepted = self.accepted()
        received = sum(accepted.values())
        return Balance(
            fault=fault,
            lane=self.lane,
            emitted=len(self.emitted),
            received=received,
            lost=len(self.emitted) - len(accepted),
            doubled=received - len(accepted),
            in_flight=len(self.in_flight),
            recovery=time.monotonic() - self.recovers_since,
        )


def slowly(seconds: float) -> Decide:
    """An endpoint that takes its time, and accepts everything."""

    def decide(_: Received, __: int) -> Answer:
        time.sleep(seconds)
        return Answer()

    return decide


class Stall:
    """An endpoint's answer that does not come until it is let go."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def __call__(self, _: Received, __: int) -> Answer:
        self.over.wait(30)
        return Answer()


def events_of(request: Received) -> list[str]:
    """The event that a request brings, or those of its batch."""
    if request.id.startswith("evt_"):
        return [request.id]
    return [event["id"] for event in json.loads(request.body)["data"]]
