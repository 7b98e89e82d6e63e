"""How an endpoint has fared: its attempts by the hour and by the day, and what was done to it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from deliveries.admin.endpoint_charts import (
    Change,
    Tally,
    Times,
    attempts_chart,
    durations_chart,
)
from deliveries.charts import Chart
from deliveries.models import Delivery
from subscriptions.hidden_characters import shown
from subscriptions.history import HistoryEntry
from subscriptions.ids import lowest_uuid_at, moment_of, to_uuid
from subscriptions.models import Endpoint

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HOURS, DAYS = 24, 28

DELIVERIES_READ = 20_000
"""The newest; of a busy endpoint what was before them is left out, so that its page is quick."""

RETRIED_FOR = timedelta(days=4)
"""Deliveries that were made so long before may still be tried, by the default schedule."""

CHANGES_SHOWN = 50

# By the indexes delivery_by_endpoint and attempt_number_once_per_delivery; each attempt counts in
# an hour and in a day.
TALLY = """
    SELECT grouping(hour) = 0 AS by_hour,
           coalesce(hour, day) AS begins,
           count(*),
           count(*) FILTER (WHERE outcome = 'delivered'),
           percentile_disc(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY duration_ms)
      FROM (SELECT date_trunc('hour', attempt.ended_at, 'UTC') AS hour,
                   date_trunc('day', attempt.ended_at, 'UTC') AS day,
                   outcome, duration_ms
              FROM deliveries_delivery delivery
              JOIN deliveries_attempt attempt ON attempt.delivery_id = delivery.id
             WHERE endpoint_id = %(endpoint)s AND delivery.id >= %(oldest)s
               AND attempt.ended_at >= %(since)s) tried
     GROUP BY GROUPING SETS ((hour), (day))
"""


@dataclass(frozen=True, slots=True)
class Health:
    """For the page of an endpoint."""

    attempts: tuple[Chart, ...]
    durations: tuple[Chart, ...]
    changes: tuple[Change, ...]
    whole_since: datetime | None
    """From when on all is counted, where that is not the whole time."""


def health_of(endpoint: Endpoint) -> Health:
    now = timezone.now()
    hour = now.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    hours = Times("hour", hour - (HOURS - 1) * HOUR, HOUR, HOURS, "%H:%M")
    days = Times("day", day - (DAYS - 1) * DAY, DAY, DAYS, "%d %b")
    whole_since = _whole_since(endpoint)
    by_hour, by_day = _tallies(endpoint, days.begin, whole_since)
    changes = tuple(_changes(endpoint, days.begin))
    told = [(hours, by_hour), (days, by_day)]
    cut = whole_since is not None and whole_since > days.begin
    return Health(
        attempts=tuple(attempts_chart(times, tallies, changes) for times, tallies in told),
        durations=tuple(durations_chart(times, tallies, changes) for times, tallies in told),
        changes=changes,
        whole_since=whole_since if cut else None,
    )


def _whole_since(endpoint: Endpoint) -> datetime | None:
    newest = Delivery.objects.filter(endpoint=endpoint).order_by("-pk")
    oldest_read = newest.values_list("pk", flat=True)[DELIVERIES_READ - 1 : DELIVERIES_READ]
    return next((moment_of(to_uuid(pk)) for pk in oldest_read), None)


def _tallies(
    endpoint: Endpoint, since: datetime, whole_since: datetime | None
) -> tuple[Mapping[datetime, Tally], Mapping[datetime, Tally]]:
    """By the hour and by the day, in UTC."""
    made_since = since - RETRIED_FOR
    if whole_since is not None:
        made_since = max(made_since, whole_since)
    asked: dict[str, Any] = {
        "endpoint": to_uuid(endpoint.pk),
        "oldest": lowest_uuid_at(made_since),
        "since": since,
    }
    tallies: tuple[dict[datetime, Tally], dict[datetime, Tally]] = ({}, {})
    with connection.cursor() as cursor:
        cursor.execute(TALLY, asked)
        for is_hour, begins, attempts, delivered, (p50, p95) in cursor.fetchall():
            tallies[0 if is_hour else 1][begins] = Tally(attempts, delivered, p50, p95)
    return tallies


def _changes(endpoint: Endpoint, since: datetime) -> Iterator[Change]:
    """What was done to it, by whom, and what its circuit did; oldest first."""
    entries = HistoryEntry.objects.filter(
        endpoint=endpoint.pk,
        kind=HistoryEntry.Kind.ENDPOINT,
        pk__gte=lowest_uuid_at(since),
        changes__has_any_keys=["state", "circuit_opened_at"],
    )
    for entry in sorted(entries.order_by("-pk")[:CHANGES_SHOWN], key=lambda entry: entry.at):
        yield Change(entry.at, _what(entry), shown(entry.actor))


def _what(entry: HistoryEntry) -> str:
    if entry.action == HistoryEntry.Action.CREATED:
        return "created"
    words = []
    if "state" in entry.changes:
        words.append(str(entry.changes["state"][1]))
    if "circuit_opened_at" in entry.changes:
        is_open = entry.changes["circuit_opened_at"][1] is not None
        words.append("circuit open" if is_open else "circuit closed")
    return ", ".join(words)
