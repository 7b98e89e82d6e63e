"""How it stands with the deliveries just now: what is under way, dead, or failing.

Each look at what grows with the deliveries has a bound: it goes by one partial index, and stops at
`EXACT`. Endpoints are counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from deliveries.models import DeadLetter
from subscriptions.ids import from_uuid
from subscriptions.models import Endpoint

EXACT = 100_000
"""What is more is an estimate of PostgreSQL's statistics, or, of dead letters, so many at least."""

# The state, the index that has those in it alone, the columns by which it is in order, and the time
# that says of one for how long it has been there, or how long it will.
INDEXED = [
    ("pending", "delivery_pending", "rung_at", "rung_at"),
    ("sending", "delivery_sending", "lease_expires_at", "lease_expires_at"),
    ("waiting", "delivery_waiting", "next_attempt_at", "next_attempt_at"),
    ("held", "delivery_held", "endpoint_id, id", "created_at"),
    ("gathering", "delivery_gathering", "endpoint_id, id", "created_at"),
    ("queued", "delivery_in_order", "endpoint_id, ordering_key, ordinal", "created_at"),
    ("batched", "delivery_batched", "lead_id", "created_at"),
]

# In the index's order, or the planner may read the whole table where its statistics are old.
UNDER_WAY = " UNION ALL ".join(
    f"""
    SELECT '{state}',
           CASE WHEN count(*) < %(exact)s THEN count(*)
                ELSE greatest(count(*), (SELECT reltuples FROM pg_class
                                          WHERE oid = '{index}'::regclass)) END::bigint,
           min(since)
      FROM (SELECT {since} AS since FROM deliveries_delivery
             WHERE state = '{state}' ORDER BY {order} LIMIT %(exact)s) {state}
    """
    for state, index, order, since in INDEXED
)

# A range of one reason, not one reason: only the index by reason has that in its order. The other
# open ones would be read once for each reason that has few.
DEAD_LETTERS = """
    SELECT given.reason, count(letter.died_at), min(letter.died_at)
      FROM unnest(%(reasons)s::text[]) AS given (reason)
      LEFT JOIN LATERAL (
        SELECT died_at FROM deliveries_deadletter
         WHERE resolution = '' AND reason BETWEEN given.reason AND given.reason
         ORDER BY reason, died_at LIMIT %(exact)s
      ) letter ON true
     GROUP BY given.reason
"""

FAN_OUTS = """
    SELECT 'fan_outs', count(*), min(created_at)
      FROM (SELECT created_at FROM deliveries_event
             WHERE fanned_out_at IS NULL ORDER BY created_at LIMIT %(exact)s) event
"""

ENDPOINTS = """
    SELECT given.state, count(endpoint.id), count(endpoint.failing_since)
      FROM unnest(%(states)s::text[]) AS given (state)
      LEFT JOIN subscriptions_endpoint endpoint USING (state)
     GROUP BY given.state
"""

# By a partial index: those that are closed, nearly all, are not read.
CIRCUITS = """
    SELECT given.circuit, count(endpoint.id)
      FROM unnest(ARRAY['open', 'half_open']) AS given (circuit)
      LEFT JOIN subscriptions_endpoint endpoint
             ON endpoint.circuit = given.circuit
            AND endpoint.circuit <> 'closed' AND endpoint.state <> 'deleted'
     GROUP BY given.circuit
"""

FAILING = """
    SELECT id, url, state, failing_since FROM subscriptions_endpoint
     WHERE failing_since IS NOT NULL AND state <> 'deleted' ORDER BY failing_since LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Some:
    """So many, and the earliest of their times."""

    count: int
    earliest: datetime | None


@dataclass(frozen=True, slots=True)
class Endpoints:
    """So many, and how many of them have failed ever since they last took a delivery."""

    count: int
    failing: int


@dataclass(frozen=True, slots=True)
class FailingEndpoint:
    """An endpoint whose last attempt failed, and since when all of them have."""

    id: str
    url: str
    state: str
    failing_since: datetime


@dataclass(frozen=True, slots=True)
class Status:
    """What the database knows. Each part is what it was when it was asked for."""

    at: datetime
    """The database's clock."""
    deliveries: Mapping[str, Some]
    """Those that have not ended, by state. The times: when a message was sent, when a lease ends,
    when the next attempt is due, or else when a delivery was made."""
    fan_outs: Some
    """Events of which not all deliveries are made; the times are when they were emitted."""
    dead_letters: Mapping[str, Some]
    """The open ones by reason, and when the first died."""
    endpoints: Mapping[str, Endpoints]
    """By state."""
    circuits: Mapping[str, int]
    """How many are open, or half-open."""

    @property
    def overdue(self) -> float:
        """For how many seconds the first of all has been due that is to be sent now."""
        return max(self.seconds_since(self.deliveries[state]) for state in ("pending", "waiting"))

    def seconds_since(self, some: Some) -> float:
        """For how long the first of them has been due, or been there; 0 where there is none."""
        if some.earliest is None:
            return 0.0
        return max(0.0, (self.at - some.earliest).total_seconds())


def status() -> Status:
    """Ask the database. Raises django.db.Error."""
    ((at,),) = _rows("SELECT now()")
    letters = _some(DEAD_LETTERS, reasons=DeadLetter.Reason.values)
    endpoints = _rows(ENDPOINTS, states=Endpoint.State.values)
    return Status(
        at=at,
        deliveries=_some(UNDER_WAY),
        fan_outs=_some(FAN_OUTS)["fan_outs"],
        dead_letters=letters,
        endpoints={state: Endpoints(count, failing) for state, count, failing in endpoints},
        circuits=dict(_rows(CIRCUITS)),
    )


def failing(limit: int) -> list[FailingEndpoint]:
    """Those that have failed for the longest, so many at most."""
    return [
        FailingEndpoint(from_uuid("ep", endpoint), *rest)
        for endpoint, *rest in _rows(FAILING, limit=limit)
    ]


def _some(statement: str, **parameters: Any) -> dict[str, Some]:
    return {name: Some(count, earliest) for name, count, earliest in _rows(statement, **parameters)}


def _rows(statement: str, **parameters: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"exact": EXACT, **parameters})
        rows: list[Any] = cursor.fetchall()
    return rows
