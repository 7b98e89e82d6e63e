"""What became of the deliveries made in a time, as far as a sample of bounded size tells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from deliveries.dashboard.periods import Period, Span, sampled
from subscriptions.ids import from_uuid, lowest_uuid_at

READ = 10_000
"""So many deliveries at most are looked at one by one."""

SHARES = (1.0, 0.1, 0.01, 0.001)
"""How much of the time is read: the first that has no more than READ, or else the last."""

READ_OF_A_SPAN = 100
"""A bound for the last share too. What a span has more of is not told."""

WORST = 6


def _picked(columns: str, table: str) -> str:
    """The sampled rows of a table, by their ids, which sort by time: a span is a range of them."""
    return f"""
        WITH picked AS MATERIALIZED (
            SELECT span.part, one.*
              FROM unnest(%(parts)s::int[], %(firsts)s::uuid[], %(lasts)s::uuid[])
                   AS span (part, first, last),
                   LATERAL (SELECT {columns} FROM {table}
                             WHERE id >= span.first AND id < span.last
                             ORDER BY id LIMIT %(of_a_span)s) one
             LIMIT %(most)s
        )
    """


PICKED = _picked("id, event_id, endpoint_id, state, ended_at", "deliveries_delivery")
LETTERS = _picked("resolution", "deliveries_deadletter")

COUNT = f"""
    SELECT greatest(({PICKED} SELECT count(*) FROM picked), ({LETTERS} SELECT count(*) FROM picked))
"""

DEAD_LETTERS = f"""
    {LETTERS}
    SELECT part, count(*) FILTER (WHERE resolution = ''), count(*) FILTER (WHERE resolution <> '')
      FROM picked GROUP BY part
"""

# What belongs to one is looked up, one by one: for all the planner knows, it would pay to read
# whole tables instead.
THEIR_ATTEMPTS = """
    picked, LATERAL (SELECT outcome, duration_ms FROM deliveries_attempt
                      WHERE delivery_id = picked.id ORDER BY number LIMIT 100) attempt
"""

# Of all of it in the row that has no part.
ARRIVALS = f"""
    {PICKED}
    SELECT part, count(*) FILTER (WHERE state = 'delivered'),
           count(*) FILTER (WHERE state = 'waiting'),
           count(*) FILTER (WHERE state NOT IN ('delivered', 'waiting', 'dead', 'discarded')),
           count(*) FILTER (WHERE state = 'dead'), count(*) FILTER (WHERE state = 'discarded'),
           percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (
               ORDER BY greatest(0, extract(epoch FROM ended_at - event.created_at)) * 1000.0
           ) FILTER (WHERE state = 'delivered')
      FROM picked, LATERAL (SELECT created_at FROM deliveries_event
                             WHERE id = event_id LIMIT 1) event
     GROUP BY GROUPING SETS ((part), ())
"""

ATTEMPTS = f"""
    {PICKED}
    SELECT part, count(*), count(*) FILTER (WHERE outcome = 'delivered'),
           percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY duration_ms)
      FROM {THEIR_ATTEMPTS}
     GROUP BY GROUPING SETS ((part), ())
"""

WORST_ENDPOINTS = f"""
    {PICKED},
    tried AS MATERIALIZED (
        SELECT id, count(*) AS attempts, count(*) FILTER (WHERE outcome <> 'delivered') AS failed
          FROM {THEIR_ATTEMPTS}
         GROUP BY id
    )
    SELECT endpoint.id, endpoint.url, endpoint.state, endpoint.circuit,
           worst.dead, worst.waiting, worst.failed, worst.attempts
      FROM (SELECT endpoint_id, count(*) FILTER (WHERE state = 'dead') AS dead,
                   count(*) FILTER (WHERE state = 'waiting') AS waiting,
                   sum(failed)::int AS failed, sum(attempts)::int AS attempts
              FROM picked LEFT JOIN tried USING (id)
             GROUP BY endpoint_id HAVING sum(failed) > 0
             ORDER BY count(*) FILTER (WHERE state IN ('dead', 'waiting')) DESC, failed DESC,
                      endpoint_id LIMIT %(worst)s) worst
      JOIN subscriptions_endpoint endpoint ON endpoint.id = worst.endpoint_id
     ORDER BY worst.dead + worst.waiting DESC, worst.failed DESC, endpoint.id
"""


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles, in milliseconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Flow:
    """Deliveries that were made in a time, by what has become of them; and the attempts at them."""

    delivered: int = 0
    waiting: int = 0
    """Failed, and to be tried again."""
    on_its_way: int = 0
    dead: int = 0
    discarded: int = 0
    to_delivery: Latency | None = None
    """From emit() until it was delivered, retries included."""
    attempts: int = 0
    succeeded: int = 0
    of_attempts: Latency | None = None

    @property
    def deliveries(self) -> int:
        return self.delivered + self.waiting + self.on_its_way + self.dead + self.discarded

    @property
    def success_rate(self) -> float | None:
        """The share of what was delivered, of all that was delivered or died."""
        ended = self.delivered + self.dead
        return self.delivered / ended if ended else None


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Those that came in a time, by whether they are still open."""

    open: int = 0
    resolved: int = 0


@dataclass(frozen=True, slots=True)
class WorstEndpoint:
    id: str
    url: str
    state: str
    circuit: str
    dead: int
    """Deliveries that were made in the time and failed for good,"""
    waiting: int
    """or failed and are to be tried again."""
    failed: int
    """Attempts."""
    attempts: int

    @property
    def failure_rate(self) -> float:
        return self.failed / self.attempts


@dataclass(frozen=True, slots=True)
class Traffic:
    period: Period
    parts: Sequence[Span]
    flows: Sequence[Flow]
    """One for each part."""
    dead_letters: Sequence[DeadLetters]
    """One for each part."""
    whole: Flow
    worst: Sequence[WorstEndpoint]
    """Those with the most deliveries that failed, and then with the most failed attempts."""
    share: float
    """How much was read. Where it is less than 1 all numbers are estimates."""

    @property
    def span(self) -> Span:
        return Span(self.parts[0].start, self.parts[-1].end)


def traffic(period: Period, now: datetime) -> Traffic:
    """Look at the deliveries made in the period, the attempts at them, and who died meanwhile.

    Of more than READ it looks at a share, spread evenly over the time, and scales the numbers up.
    """
    parts = period.split(now)
    share, spans = _sample(parts)
    attempts = {part: rest for part, *rest in _rows(ATTEMPTS, spans)}
    flows = {
        part: _flow(counts, to_delivery, attempts.get(part), share)
        for part, *counts, to_delivery in _rows(ARRIVALS, spans)
    }
    letters = {
        part: DeadLetters(*(_scaled(count, share) for count in counts))
        for part, *counts in _rows(DEAD_LETTERS, spans)
    }
    return Traffic(
        period=period,
        parts=parts,
        flows=[flows.get(number, Flow()) for number in range(len(parts))],
        dead_letters=[letters.get(number, DeadLetters()) for number in range(len(parts))],
        whole=flows[None],
        worst=[
            WorstEndpoint(
                from_uuid("ep", endpoint),
                *(url, state, circuit),
                *(_scaled(count, share) for count in counts),
            )
            for endpoint, url, state, circuit, *counts in _rows(
                WORST_ENDPOINTS, spans | {"worst": WORST}
            )
        ],
        share=share,
    )


def _sample(parts: Sequence[Span]) -> tuple[float, dict[str, Any]]:
    """The greatest share that has few enough deliveries, and its spans for the statements."""
    spans: dict[str, Any] = {}
    for share in SHARES:
        chosen = list(sampled(parts, share))
        spans = {
            "parts": [part for part, _ in chosen],
            "firsts": [lowest_uuid_at(span.start) for _, span in chosen],
            "lasts": [lowest_uuid_at(span.end) for _, span in chosen],
            "of_a_span": READ + 1 if share > SHARES[-1] else READ_OF_A_SPAN,
            "most": READ + 1 if share > SHARES[-1] else READ_OF_A_SPAN * len(chosen),
        }
        if share == SHARES[-1]:
            break
        ((count,),) = _rows(COUNT, spans)
        if count <= READ:
            break
    return share, spans


def _flow(
    counts: Sequence[int],
    to_delivery: Sequence[float] | None,
    attempts: Sequence[Any] | None,
    share: float,
) -> Flow:
    delivered, waiting, on_its_way, dead, discarded = (_scaled(count, share) for count in counts)
    tried, succeeded, durations = attempts or (0, 0, None)
    return Flow(
        *(delivered, waiting, on_its_way, dead, discarded),
        to_delivery=Latency(*to_delivery) if to_delivery else None,
        attempts=_scaled(tried, share),
        succeeded=_scaled(succeeded, share),
        of_attempts=Latency(*durations) if durations else None,
    )


def _scaled(count: int, share: float) -> int:
    return round(count / share)


def _rows(statement: str, parameters: Mapping[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        rows: list[Any] = cursor.fetchall()
    return rows
