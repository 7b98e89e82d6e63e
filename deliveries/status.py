"""How the deliveries fare, at a glance: what an operator asks first."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from deliveries import bell
from subscriptions.ids import from_uuid

# Each state by its own partial index. What has ended is counted by nobody.
UNDER_WAY = """
    SELECT state, count(*), min(since)
      FROM (SELECT state, rung_at AS since FROM deliveries_delivery WHERE state = 'pending'
             UNION ALL
            SELECT state, lease_expires_at FROM deliveries_delivery WHERE state = 'sending'
             UNION ALL
            SELECT state, next_attempt_at FROM deliveries_delivery WHERE state = 'waiting'
             UNION ALL
            SELECT state, created_at FROM deliveries_delivery WHERE state = 'held'
             UNION ALL
            SELECT state, created_at FROM deliveries_delivery WHERE state = 'gathering'
             UNION ALL
            SELECT state, created_at FROM deliveries_delivery WHERE state = 'queued') delivery
     GROUP BY state
"""

DEAD_LETTERS = """
    SELECT reason, count(*), min(died_at) FROM deliveries_deadletter
     WHERE resolution = '' GROUP BY reason ORDER BY count(*) DESC
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
class FailingEndpoint:
    """An endpoint whose last attempt failed, and since when all of them have."""

    id: str
    url: str
    state: str
    failing_since: datetime


@dataclass(frozen=True, slots=True)
class Status:
    """What is under way, dead, or failing. Each part is what it was when it was asked for."""

    deliveries: Mapping[str, Some]
    """By state. The times: a message's, a lease's end, the next attempt's, or the creation's."""
    dead_letters: Mapping[str, Some]
    """The open ones by reason, and when the first died."""
    failing: list[FailingEndpoint]
    """Those that have failed for the longest."""
    messages: int | None
    """How many wait on the broker; None where it does not say."""


def status(*, endpoints: int) -> Status:
    """Look at all that has not ended, and at the worst `endpoints`."""
    return Status(
        deliveries={state: Some(count, since) for state, count, since in _rows(UNDER_WAY)},
        dead_letters={reason: Some(count, died) for reason, count, died in _rows(DEAD_LETTERS)},
        failing=[
            FailingEndpoint(from_uuid("ep", endpoint), *rest)
            for endpoint, *rest in _rows(FAILING, limit=endpoints)
        ],
        messages=bell.waiting(),
    )


def _rows(statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
