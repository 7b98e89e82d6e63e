"""How many there are of what, and how old the oldest is, as PostgreSQL and the broker say just now.

Each look has a bound, however much there is: it goes by one partial index, and stops at `EXACT`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from celery.app import app_or_default
from django.db import connection
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from deliveries import bell
from deliveries.models import DeadLetter
from subscriptions.models import Endpoint

EXACT = 100_000
"""What is more is an estimate of PostgreSQL's statistics, or, of dead letters, so many at least."""

SWEEP = "deliveries.sweep_"
"""How the names of the sweeps' tasks begin."""

# The state, the index that has those in it alone, the columns by which it is in order, and since
# when one of them waits for somebody, if it does.
INDEXED = [
    ("pending", "delivery_pending", "rung_at", "rung_at"),
    ("sending", "delivery_sending", "lease_expires_at", "NULL::timestamptz"),
    ("waiting", "delivery_waiting", "next_attempt_at", "next_attempt_at"),
    ("held", "delivery_held", "endpoint_id, id", "NULL::timestamptz"),
    ("gathering", "delivery_gathering", "endpoint_id, id", "NULL::timestamptz"),
    ("queued", "delivery_in_order", "endpoint_id, ordering_key, ordinal", "NULL::timestamptz"),
    ("batched", "delivery_batched", "lead_id", "NULL::timestamptz"),
]

# In the index's order, or the planner may read the whole table where its statistics are old.
UNDER_WAY = " UNION ALL ".join(
    f"""
    SELECT '{state}',
           CASE WHEN count(*) < %(exact)s THEN count(*)
                ELSE greatest(count(*), (SELECT reltuples FROM pg_class
                                          WHERE oid = '{index}'::regclass)) END::bigint,
           coalesce(greatest(0, extract(epoch FROM now() - min(since))), 0)::float8
      FROM (SELECT {since} AS since FROM deliveries_delivery
             WHERE state = '{state}' ORDER BY {order} LIMIT %(exact)s) {state}
    """
    for state, index, order, since in INDEXED
)

DEAD_LETTERS = """
    SELECT given.reason, count(letter.died_at),
           coalesce(greatest(0, extract(epoch FROM now() - min(letter.died_at))), 0)::float8
      FROM unnest(%(reasons)s::text[]) AS given (reason)
      LEFT JOIN LATERAL (
        SELECT died_at FROM deliveries_deadletter
         WHERE resolution = '' AND reason = given.reason ORDER BY died_at LIMIT %(exact)s
      ) letter ON true
     GROUP BY given.reason
"""

FAN_OUTS = """
    SELECT 'fan_outs', count(*),
           coalesce(greatest(0, extract(epoch FROM now() - min(created_at))), 0)::float8
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


@dataclass(frozen=True, slots=True)
class Some:
    """So many, and for how many seconds the first of them has waited."""

    count: int
    oldest: float


@dataclass(frozen=True, slots=True)
class Endpoints:
    """So many, and how many of them have failed ever since they last took a delivery."""

    count: int
    failing: int


@dataclass(frozen=True, slots=True)
class State:
    """What the database knows."""

    deliveries: Mapping[str, Some]
    """Those that have not ended, by state; the pending and the waiting wait since they were due."""
    fan_outs: Some
    dead_letters: Mapping[str, Some]
    """The open ones, by reason."""
    endpoints: Mapping[str, Endpoints]
    """By state."""
    circuits: Mapping[str, int]
    """How many are open, or half-open."""


def look() -> State:
    """Ask the database. Raises django.db.Error."""
    deliveries = _some(UNDER_WAY)
    letters = _some(DEAD_LETTERS, reasons=DeadLetter.Reason.values)
    endpoints = _rows(ENDPOINTS, states=Endpoint.State.values)
    return State(
        deliveries=deliveries,
        fan_outs=_some(FAN_OUTS)["fan_outs"],
        dead_letters=letters,
        endpoints={state: Endpoints(count, failing) for state, count, failing in endpoints},
        circuits=dict(_rows(CIRCUITS)),
    )


def sweeps_lag(since_they_ran: Mapping[str, float]) -> dict[str, float]:
    """How many seconds each sweep that is scheduled is overdue, by its task's name without SWEEP.

    `since_they_ran` has how long ago each of them ran. One that is not in it ran, as far as anybody
    knows, when beat last sent it, or else began when it was scheduled. Raises django.db.Error.
    """
    now = timezone.now()
    tasks = PeriodicTask.objects.filter(enabled=True, task__startswith=SWEEP)
    lags = {}
    for task in tasks.select_related("interval", "crontab", "solar", "clocked"):
        sweep = task.task.removeprefix(SWEEP)
        ran = task.last_run_at or task.date_changed
        if sweep in since_they_ran:
            ran = now - timedelta(seconds=since_they_ran[sweep])
        due_in: timedelta = task.schedule.remaining_estimate(ran)
        lags[sweep] = max(0.0, -due_in.total_seconds())
    return lags


def queue_lengths() -> dict[str, int]:
    """How many messages wait in each queue of the broker that says so."""
    lengths = {name: bell.waiting(name) for name in app_or_default().amqp.queues}
    return {name: length for name, length in lengths.items() if length is not None}


def _some(statement: str, **parameters: Any) -> dict[str, Some]:
    return {name: Some(count, oldest) for name, count, oldest in _rows(statement, **parameters)}


def _rows(statement: str, **parameters: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"exact": EXACT, **parameters})
        rows: list[Any] = cursor.fetchall()
    return rows
