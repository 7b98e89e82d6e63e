"""The circuit breaker: counts how attempts end, opens endpoints' circuits, settles their probes.

The results are counted in Redis, for all workers together; what follows from them is in the
endpoint's row. Without Redis nothing is counted and no circuit opens; those that are open are
probed all the same.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from subscriptions.circuit import Tally, probe_wait, trips
from subscriptions.conf import SubscriptionSettings, part
from subscriptions.quick_redis import QuickRedis

IN_FLIGHT = 60
"""Seconds after an opening in which results are not counted: they tell of what began before it."""

COUNT = """
local window = tonumber(ARGV[1])
local time = redis.call('TIME')
local spans = (time[1] + time[2] / 1e6) / window
local span = math.floor(spans)
local before = 1 - (spans - span)
local tallies = {}
for i, key in ipairs(KEYS) do
    local sums = {0, 0}
    if redis.call('TYPE', key).ok ~= 'string' then
        for j, what in ipairs({'s', 'f'}) do
            local count = redis.call('HINCRBY', key, what .. span, ARGV[2 * i + j - 1])
            local earlier = tonumber(redis.call('HGET', key, what .. (span - 1)) or 0)
            redis.call('HDEL', key, what .. (span - 2))
            sums[j] = count + before * earlier
        end
        redis.call('PEXPIRE', key, math.ceil(2000 * window))
    end
    tallies[i] = {tostring(sums[1]), tostring(sums[2])}
end
return tallies
"""
"""Adds to the tally of each key; returns the successes and failures in the window that ends now.

ARGV: the window in seconds, then for each key the successes and failures. Of the span of time
before the present one as much counts as the window still covers. A key that is a string is muted.
"""

OPEN = """
    UPDATE subscriptions_endpoint endpoint
       SET circuit = 'open', circuit_opened_at = now(), openings = 1,
           probe_at = now() + make_interval(secs => opening.wait)
      FROM unnest(%(endpoints)s::uuid[], %(waits)s::float8[]) AS opening (id, wait),
           (SELECT id FROM subscriptions_endpoint
             WHERE id = ANY(%(endpoints)s) AND takes_deliveries
             ORDER BY id
               FOR NO KEY UPDATE) closed
     WHERE endpoint.id = opening.id AND endpoint.id = closed.id
"""

SETTLE = """
    UPDATE subscriptions_endpoint endpoint
       SET circuit = CASE WHEN probed.wait IS NULL THEN 'closed' ELSE 'open' END,
           circuit_opened_at = CASE WHEN probed.wait IS NOT NULL
                                    THEN endpoint.circuit_opened_at END,
           openings = probed.openings,
           probe_at = now() + make_interval(secs => probed.wait),
           probe = NULL
      FROM unnest(%(endpoints)s::uuid[], %(probes)s::uuid[], %(openings)s::int[],
                  %(waits)s::float8[]) AS probed (id, probe, openings, wait),
           (SELECT id FROM subscriptions_endpoint
             WHERE id = ANY(%(endpoints)s)
             ORDER BY id
               FOR NO KEY UPDATE) half_open
     WHERE endpoint.id = probed.id AND endpoint.id = half_open.id
       AND endpoint.circuit = 'half_open' AND endpoint.probe = probed.probe
"""


@dataclass(frozen=True, slots=True)
class Result:
    """What an attempt says of its endpoint."""

    endpoint: UUID
    failed: bool
    retry_after: float = 0.0
    """Seconds for which the endpoint asks to be left alone."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of the delivery that probed an endpoint."""

    endpoint: UUID
    delivery: UUID
    openings: int
    """How often in a row the circuit had opened."""
    failed: bool | None
    """None where the attempt says nothing of the endpoint: the next delivery probes at once."""
    retry_after: float = 0.0


class Tallies(QuickRedis):
    """How the attempts at each endpoint have ended, in one Redis."""

    without = "no circuit opens."

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._count = self.client.register_script(COUNT)

    def add(self, tallies: Mapping[UUID, Tally], window: float) -> dict[UUID, Tally]:
        """Add to the tallies; returns what they are now, or nothing while Redis is away."""
        keys = [_key(endpoint) for endpoint in tallies]
        counts = [count for one in tallies.values() for count in (one.successes, one.failures)]
        answer = self.ask(lambda: self._count(keys=keys, args=[window, *counts]))
        return {
            endpoint: Tally(float(successes), float(failures))
            for endpoint, (successes, failures) in zip(tallies, answer or (), strict=False)
        }

    def mute(self, endpoints: Collection[UUID]) -> None:
        """Forget the tallies, and add nothing to them until what is in flight has ended."""

        def ask() -> None:
            with self.client.pipeline(transaction=False) as pipeline:
                for endpoint in endpoints:
                    pipeline.set(_key(endpoint), "muted", ex=IN_FLIGHT)
                pipeline.execute()

        self.ask(ask)

    def forget(self, endpoints: Collection[UUID]) -> None:
        """Begin to count anew."""
        keys = [_key(endpoint) for endpoint in endpoints]
        self.ask(lambda: self.client.delete(*keys))


def _key(endpoint: UUID) -> str:
    return f"angarium:circuit:{endpoint.hex}"


def count(results: Sequence[Result]) -> None:
    """Count how attempts ended, and open the circuits of endpoints of which too many failed."""
    settings = part(SubscriptionSettings)
    if not results or not settings.circuit_failure_rate:
        return
    counted = Tallies.here()
    latest = counted.add(_tally(results), settings.circuit_window)
    tripped = {
        one.endpoint
        for one in results
        if one.failed and trips(latest.get(one.endpoint, Tally()), settings)
    }
    if tripped:
        _open(tripped, results, settings)
        counted.mute(tripped)


def _tally(results: Sequence[Result]) -> dict[UUID, Tally]:
    failures: dict[UUID, list[bool]] = {}
    for one in results:
        failures.setdefault(one.endpoint, []).append(one.failed)
    return {
        endpoint: Tally(successes=len(ended) - sum(ended), failures=sum(ended))
        for endpoint, ended in failures.items()
    }


def _open(
    endpoints: Collection[UUID], results: Sequence[Result], settings: SubscriptionSettings
) -> None:
    asked = dict.fromkeys(endpoints, 0.0)
    for one in results:
        if one.endpoint in asked:
            asked[one.endpoint] = max(asked[one.endpoint], one.retry_after)
    waits = [max(probe_wait(1, settings, random=random.random), wait) for wait in asked.values()]
    with connection.cursor() as cursor:
        cursor.execute(OPEN, {"endpoints": list(asked), "waits": waits})


def settle(probed: Sequence[Probed]) -> None:
    """Close the circuits whose probe succeeded; open the others again, each for longer."""
    settings = part(SubscriptionSettings)
    openings: list[int] = []
    waits: list[float | None] = []
    for one in probed:
        if one.failed is None:
            openings.append(one.openings)
            waits.append(0.0)
        elif one.failed:
            openings.append(one.openings + 1)
            wait = probe_wait(one.openings + 1, settings, random=random.random)
            waits.append(max(wait, one.retry_after))
        else:
            openings.append(0)
            waits.append(None)
    closed = [one.endpoint for one in probed if one.failed is False]
    if closed and settings.circuit_failure_rate:
        Tallies.here().forget(closed)
    with connection.cursor() as cursor:
        cursor.execute(
            SETTLE,
            {
                "endpoints": [one.endpoint for one in probed],
                "probes": [one.delivery for one in probed],
                "openings": openings,
                "waits": waits,
            },
        )
