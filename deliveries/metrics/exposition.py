"""All metrics in Prometheus' terms: the sums out of Redis, and the state of things as it is now."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator

from django.db import Error
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from redis import RedisError

from deliveries import bell
from deliveries.metrics.counted import COUNTERS, HISTOGRAMS, Counter, Histogram
from deliveries.metrics.reporting import totals
from deliveries.metrics.sweeps import sweeps_lag
from deliveries.status import EXACT, Status, status
from subscriptions.conf import SubscriptionSettings, part

FRESH_FOR = 5.0
"""Seconds in which a process does not look again, however often it is asked."""

ALIVE = 60.0
"""Seconds since a process was seen within which it counts as alive."""

logger = logging.getLogger(__name__)

Sums = dict[str, float]
Seen = dict[str, float]


class Everything(Collector):
    """Looks at most once every FRESH_FOR seconds; who asks meanwhile waits for that look."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._found: list[Metric] = []

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            if time.monotonic() - self._looked_at > FRESH_FOR:
                self._found = list(_look())
                self._looked_at = time.monotonic()
            return self._found


registry = CollectorRegistry()
registry.register(Everything())


def _look() -> Iterator[Metric]:
    there = GaugeMetricFamily(
        "angarium_reachable", "Whether the web process that was asked reaches it.", labels=["part"]
    )
    seen: Seen = {}
    try:
        sums, seen = totals(part(SubscriptionSettings).redis_url).read()
        yield from _counted(sums)
        yield from _alive(seen)
        there.add_metric(["redis"], 1)
    except RedisError as error:
        logger.warning("Redis does not tell its metrics (%s).", error)
        there.add_metric(["redis"], 0)
    try:
        yield from _state(status())
        yield from _lags(seen)
        there.add_metric(["database"], 1)
    except Error:
        logger.exception("the database does not tell its metrics")
        there.add_metric(["database"], 0)
    yield _gauge(
        "angarium_queue_messages",
        "Messages that wait on the broker.",
        "queue",
        bell.queue_lengths(),
    )
    yield there


def _counted(sums: Sums) -> Iterator[Metric]:
    for counter in COUNTERS:
        yield _counter(counter, sums)
    for histogram in HISTOGRAMS:
        yield _histogram(histogram, sums)


def _counter(counter: Counter, sums: Sums) -> Metric:
    family = CounterMetricFamily(
        counter.name, counter.help, labels=[counter.label] if counter.label else []
    )
    for value in counter.values:
        family.add_metric([value] if value else [], sums.get(counter.field(value), 0))
    return family


def _histogram(histogram: Histogram, sums: Sums) -> Metric:
    family = HistogramMetricFamily(histogram.name, histogram.help)
    reached = 0.0
    buckets = []
    for field in histogram.fields:
        reached += sums.get(field, 0)
        buckets.append((field.removeprefix(f"{histogram.name}:"), reached))
    family.add_metric([], buckets, sums.get(histogram.sum_field, 0))
    return family


def _alive(seen: Seen) -> Iterator[Metric]:
    def alive(kind: str) -> int:
        return sum(name.startswith(f"{kind}:") and ago < ALIVE for name, ago in seen.items())

    yield GaugeMetricFamily(
        "angarium_workers", "Workers that were seen alive within a minute.", alive("worker")
    )
    yield GaugeMetricFamily(
        "angarium_beats",
        "Beats that have sent a task within a minute: one is as it should be.",
        alive("beat"),
    )


def _state(found: Status) -> Iterator[Metric]:
    deliveries, letters, endpoints = found.deliveries, found.dead_letters, found.endpoints
    yield _gauge(
        "angarium_deliveries_under_way",
        f"Deliveries that have not ended; an estimate beyond {EXACT}.",
        "state",
        {name: some.count for name, some in deliveries.items()},
    )
    yield _gauge(
        "angarium_oldest_wait_seconds",
        "For how long the first delivery has been due: pending since its message was sent, waiting"
        " since the time of its next attempt.",
        "state",
        {name: found.seconds_since(deliveries[name]) for name in ("pending", "waiting")},
    )
    yield GaugeMetricFamily(
        "angarium_fan_outs_under_way",
        "Events of which not all deliveries are made yet.",
        found.fan_outs.count,
    )
    yield GaugeMetricFamily(
        "angarium_oldest_fan_out_seconds",
        "How old the first of them is.",
        found.seconds_since(found.fan_outs),
    )
    yield _gauge(
        "angarium_dead_letters",
        f"Open dead letters, up to {EXACT} of each reason.",
        "reason",
        {name: some.count for name, some in letters.items()},
    )
    yield _gauge(
        "angarium_oldest_dead_letter_seconds",
        "How long ago the first of them died; 0 where there is none.",
        "reason",
        {name: found.seconds_since(some) for name, some in letters.items()},
    )
    yield _gauge(
        "angarium_endpoints",
        "Endpoints.",
        "state",
        {name: some.count for name, some in endpoints.items()},
    )
    yield _gauge(
        "angarium_failing_endpoints",
        "Endpoints whose every attempt has failed since one succeeded.",
        "state",
        {name: some.failing for name, some in endpoints.items()},
    )
    yield _gauge(
        "angarium_circuits",
        "Endpoints whose circuit is not closed: their deliveries are held.",
        "circuit",
        dict(found.circuits),
    )


def _lags(seen: Seen) -> Iterator[Metric]:
    ran = {
        name.removeprefix("sweep:"): ago for name, ago in seen.items() if name.startswith("sweep:")
    }
    yield _gauge(
        "angarium_sweep_lag_seconds",
        "By how much the time is past at which the sweep should have run again.",
        "sweep",
        sweeps_lag(ran),
    )


def _gauge(name: str, help: str, label: str, values: dict[str, float] | dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, help, labels=[label])
    for value, amount in values.items():
        family.add_metric([value], amount)
    return family
