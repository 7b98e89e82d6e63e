"""What a replay takes: found in stretches, each bounded by what is looked at, not by what is there.

Deliveries that have ended are found through the index of their endpoint. Events that the endpoint
never got are found among those for its subscriber and those for everybody, by what its
subscriptions ask for now; their filters have the last word.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from deliveries.models import Replay
from subscriptions.filtering import sift
from subscriptions.ids import lowest_uuid_at, to_uuid
from subscriptions.matching import Match

STRETCH = 2000
"""So many deliveries, or events, are looked at for one chunk."""

PATIENCE = 0.2
"""Seconds after which a chunk begins with no other event's filters."""

CLOCKS_DIFFER_BY = timedelta(hours=1)
"""How much earlier than its event a delivery may seem to be made: by another machine's clock."""

FIRST = UUID(int=0)

# As subscriptions.event_types.patterns_matching() has it.
MATCHES = """(%(pattern)s = '*' OR %(pattern)s = %(type)s
              OR right(%(pattern)s, 2) = '.*' AND starts_with(%(type)s, left(%(pattern)s, -1)))"""


def matches(pattern: str, type: str) -> str:
    return MATCHES % {"pattern": pattern, "type": type}


# One statement, and so one snapshot: between two, rows come and go, and the cursor would pass some
# by.
LOOK = """
    WITH passed AS ({passed} ORDER BY id LIMIT %(stretch)s),
         found AS ({found} ORDER BY id LIMIT %(limit)s)
    SELECT (SELECT id FROM passed ORDER BY id OFFSET %(stretch)s - 1), found.*
      FROM (SELECT) anyway LEFT JOIN found ON true
     ORDER BY found.id
"""

AGAIN = LOOK.format(
    passed="""
        SELECT id, event_id, state FROM deliveries_delivery
         WHERE endpoint_id = %(endpoint)s AND id > %(after)s AND id < %(end)s""",
    found=f"""
        SELECT passed.id FROM passed
         WHERE passed.state = ANY(%(states)s)
           AND passed.event_id >= %(since)s AND passed.event_id < %(until)s
           AND (%(pattern)s = '*' OR EXISTS (
                SELECT FROM deliveries_event event
                 WHERE event.id = passed.event_id
                   AND {matches("%(pattern)s::text", "event.type")}))""",
)

# Of the passed, each half goes by an index; an OR of the two would not. An event whose fan-out is
# under way gets its delivery from that. All else is what subscriptions.matching asks of an
# endpoint, asked of an event.
MISSED = LOOK.format(
    passed=" UNION ALL ".join(
        f"""
        (SELECT id, type, channels, ordering_key, fanned_out_at FROM deliveries_event
          WHERE {whose} AND id > %(after)s AND id < %(end)s
          ORDER BY id LIMIT %(stretch)s)"""
        for whose in ("subscriber_id = %(subscriber)s", "subscriber_id IS NULL")
    ),
    found=f"""
        SELECT passed.id, passed.ordering_key, asked.filters FROM passed
         CROSS JOIN LATERAL (
            SELECT count(*) AS wishes,
                   CASE WHEN every(filter <> '') THEN jsonb_object_agg(id, filter) END AS filters
              FROM subscriptions_subscription subscription
             WHERE subscription.endpoint_id = %(endpoint)s AND subscription.enabled
               AND {matches("subscription.pattern", "passed.type")}
               AND (subscription.channels = '{{}}' OR subscription.channels && passed.channels)
         ) asked
         WHERE asked.wishes > 0
           AND passed.fanned_out_at IS NOT NULL
           AND {matches("%(pattern)s::text", "passed.type")}
           AND NOT EXISTS (SELECT FROM deliveries_delivery delivery
                            WHERE delivery.event_id = passed.id
                              AND delivery.endpoint_id = %(endpoint)s)
           AND NOT EXISTS (SELECT FROM subscriptions_eventtype known
                             JOIN subscriptions_subscriber subscriber
                               ON subscriber.id = %(subscriber)s
                            WHERE known.name = passed.type AND known.feature_flag <> ''
                              AND known.feature_flag <> ALL(subscriber.feature_flags))""",
)

PAYLOADS = "SELECT id, payload FROM deliveries_event WHERE id = ANY(%s)"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some of what a replay takes, in order."""

    rows: Mapping[UUID, str | None]
    """Deliveries, or events, by id; of events the ordering key."""
    cursor: UUID | None
    """The last that was looked at; None, where the range has come to its end."""
    failures: Mapping[UUID, Mapping[str, str]] = field(default_factory=dict)
    """Why filters had no value for events, by the UUIDs of their subscriptions."""


def find(replay: Replay, limit: int) -> Chunk:
    """At most `limit` of what the replay takes behind its cursor; perhaps none, and yet more."""
    return (_find_missed if replay.kind == Replay.Kind.MISSED else _find_again)(replay, limit)


def _find_again(replay: Replay, limit: int) -> Chunk:
    since = FIRST if replay.since is None else lowest_uuid_at(replay.since)
    start = FIRST if replay.since is None else lowest_uuid_at(replay.since - CLOCKS_DIFFER_BY)
    asked = {
        **_range(replay, start, limit),
        "states": replay.states,
        "since": since,
        "until": lowest_uuid_at(replay.until),
    }
    found, cursor = _look(AGAIN, asked)
    return Chunk({delivery: None for (delivery,) in found}, cursor)


def _find_missed(replay: Replay, limit: int) -> Chunk:
    since = replay.since or replay.endpoint.created_at
    asked = {
        **_range(replay, lowest_uuid_at(since), limit),
        "subscriber": to_uuid(replay.endpoint.subscriber_id),
    }
    found, cursor = _look(MISSED, asked)
    if not any(filters for *_, filters in found):
        return Chunk({event: key for event, key, _ in found}, cursor)
    return _sifted(to_uuid(replay.endpoint_id), found, cursor)


def _range(replay: Replay, start: UUID, limit: int) -> dict[str, Any]:
    return {
        "endpoint": to_uuid(replay.endpoint_id),
        # No id is the lowest of its millisecond: neither is one's own.
        "after": replay.cursor or start,
        "end": lowest_uuid_at(replay.end),
        "pattern": replay.pattern,
        "stretch": STRETCH,
        "limit": limit,
    }


def _look(statement: str, asked: dict[str, Any]) -> tuple[list[tuple[Any, ...]], UUID | None]:
    """What a statement finds in the next stretch, and the cursor behind it."""
    rows = _rows(statement, asked)
    found = [row[1:] for row in rows if row[1] is not None]
    cursor: UUID | None = rows[0][0]
    return found, found[-1][0] if len(found) == asked["limit"] else cursor


def _sifted(endpoint: UUID, found: list[tuple[Any, ...]], cursor: UUID | None) -> Chunk:
    """What the filters leave; where they take too long, the rest is left for the next chunk."""
    until = time.monotonic() + PATIENCE
    payloads = dict(_rows(PAYLOADS, [[event for event, _, filters in found if filters]]))
    rows: dict[UUID, str | None] = {}
    failures: dict[UUID, Mapping[str, str]] = {}
    for place, (event, ordering_key, filters) in enumerate(found):
        match = Match(endpoint, takes_deliveries=True, filters=filters and json.loads(filters))
        sifted = sift([match], lambda event=event: json.loads(payloads[event]))  # type: ignore[misc]
        if sifted.passing:
            rows[event] = ordering_key
        if sifted.failures:
            failures[event] = sifted.failures
        if time.monotonic() > until and place + 1 < len(found):
            return Chunk(rows, event, failures)
    return Chunk(rows, cursor, failures)


def _rows(statement: str, asked: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, asked)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
