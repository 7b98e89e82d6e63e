"""What is counted, and the counting: in memory, and handed on by the reporter.

A process calls `count` and `observe` where something has happened, and pays a dictionary's price.
"""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from deliveries.models import Delivery
from webhooks.sending.outcome import OutcomeKind

BEYOND = "+Inf"


@dataclass(frozen=True, slots=True)
class Counter:
    """What only grows; one number for each of the values of its label, if it has one."""

    name: str
    help: str
    label: str = ""
    values: tuple[str, ...] = ("",)

    def field(self, value: str) -> str:
        """By which name it is added up."""
        return f"{self.name}:{value}"


@dataclass(frozen=True)
class Histogram:
    """How many took up to so many seconds each, and how many seconds all of them together."""

    name: str
    help: str
    bounds: tuple[float, ...]

    @cached_property
    def fields(self) -> list[str]:
        """By which names its buckets are added up, the one beyond the last bound included."""
        return [f"{self.name}:{bound}" for bound in (*self.bounds, BEYOND)]

    @cached_property
    def sum_field(self) -> str:
        return f"{self.name}:sum"


EVENTS = Counter("angarium_events", "Events that were emitted.")
DELIVERIES = Counter(
    "angarium_deliveries",
    "Deliveries that were delivered, or are dead; one that is redriven may end twice. To discard"
    " one is somebody's decision and no outcome: it is not counted.",
    label="outcome",
    values=(Delivery.State.DELIVERED.value, Delivery.State.DEAD.value),
)
ATTEMPTS = Counter(
    "angarium_attempts",
    "Attempts by what came of them.",
    label="outcome",
    values=tuple(kind.value for kind in OutcomeKind),
)
ATTEMPT_SECONDS = Histogram(
    "angarium_attempt_seconds",
    "How long attempts took, from the look-up of the name to the end of the response.",
    bounds=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0),
)
DELIVERY_SECONDS = Histogram(
    "angarium_delivery_seconds",
    "From emit() until it was delivered, retries included; of a batch, its first event.",
    bounds=(
        *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
        *(60.0, 300.0, 1800.0, 3600.0, 21600.0, 86400.0),
    ),
)

COUNTERS = (EVENTS, DELIVERIES, ATTEMPTS)
HISTOGRAMS = (ATTEMPT_SECONDS, DELIVERY_SECONDS)


class Tally:
    """What has been counted since it was last taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._amounts: dict[str, float] = defaultdict(int)

    def count(self, counter: Counter, value: str = "", amount: int = 1) -> None:
        with self._lock:
            self._amounts[counter.field(value)] += amount

    def observe(self, histogram: Histogram, times: Iterable[float]) -> None:
        """Count what took so many seconds each."""
        fields, bounds = histogram.fields, histogram.bounds
        with self._lock:
            for seconds in times:
                self._amounts[fields[bisect_left(bounds, seconds)]] += 1
                self._amounts[histogram.sum_field] += seconds

    def take(self) -> dict[str, float]:
        """All that was counted; it counts from zero then."""
        with self._lock:
            taken, self._amounts = self._amounts, defaultdict(int)
        return taken
