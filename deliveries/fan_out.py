"""Write events and their deliveries: one for each endpoint that matches, never two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from uuid_utils.compat import uuid7

from deliveries import bell, gathering, ordering
from deliveries.conf import DeliverySettings
from deliveries.models import Event
from deliveries.ordering import Queue
from subscriptions.conf import part
from subscriptions.filtering import note_failures, sift
from subscriptions.ids import to_uuid
from subscriptions.matching import Match, endpoints_matching

DELIVERIES = """
    INSERT INTO deliveries_delivery
           (id, event_id, endpoint_id, state, attempt_number, round_start, created_at, rung_at,
            ordering_key, ordinal)
    SELECT new.id, event.id, new.endpoint, new.state, 0, 0, now(),
           CASE new.state WHEN 'pending' THEN now() END,
           CASE new.state WHEN 'queued' THEN event.ordering_key END,
           CASE new.state WHEN 'queued' THEN event.ordinal END
      FROM event, unnest(%(ids)s::uuid[], %(endpoints)s::uuid[], %(states)s::text[])
           AS new (id, endpoint, state)
        ON CONFLICT (event_id, endpoint_id) DO NOTHING
 RETURNING id, state
"""

MAKE_DELIVERIES = f"""
    WITH event AS (
        SELECT id, ordering_key, ordinal FROM deliveries_event WHERE id = %(event)s
    ) {DELIVERIES}
"""

WRITE_EVENT = f"""
    WITH event AS (
        INSERT INTO deliveries_event
               (id, type, subscriber_id, channels, payload, occurred_at, created_at,
                idempotency_key, delivery_count, fanned_out_at, traceparent, ordering_key, ordinal)
        VALUES (%(event)s, %(type)s, %(subscriber)s, %(channels)s, %(payload)s, %(occurred_at)s,
                %(created_at)s, %(idempotency_key)s, %(delivery_count)s, %(fanned_out_at)s,
                %(traceparent)s, %(ordering_key)s,
                CASE WHEN %(ordering_key)s::text IS NOT NULL
                     THEN nextval('deliveries_ordinal') END)
            ON CONFLICT DO NOTHING
     RETURNING id, ordering_key, ordinal
    ), delivery AS ({DELIVERIES})
    SELECT (SELECT count(*) FROM event), ARRAY(SELECT id FROM delivery WHERE state = 'pending')
"""


# The other way round: many events, one endpoint. Whoever drops old events has locked them.
MAKE_MISSED = """
    WITH event AS (
        SELECT id, ordering_key, ordinal FROM deliveries_event
         WHERE id = ANY(%(events)s)
         ORDER BY id FOR NO KEY UPDATE
    ), made AS (
        INSERT INTO deliveries_delivery
               (id, event_id, endpoint_id, state, attempt_number, round_start, created_at, rung_at,
                ordering_key, ordinal)
        SELECT new.id, event.id, %(endpoint)s, new.state, 0, 0, now(),
               CASE new.state WHEN 'pending' THEN now() END,
               CASE new.state WHEN 'queued' THEN event.ordering_key END,
               CASE new.state WHEN 'queued' THEN event.ordinal END
          FROM event
          JOIN unnest(%(ids)s::uuid[], %(events)s::uuid[], %(states)s::text[])
               AS new (id, event, state) ON new.event = event.id
            ON CONFLICT (event_id, endpoint_id) DO NOTHING
     RETURNING id, event_id, state, ordering_key
    ), counted AS (
        UPDATE deliveries_event event SET delivery_count = delivery_count + 1
          FROM made WHERE event.id = made.event_id
    )
    SELECT id, state, ordering_key FROM made
"""


@dataclass(frozen=True, slots=True)
class Made:
    """Deliveries that were written, for the workers to be told of once they are committed."""

    count: int = 0
    pending: Sequence[UUID] = ()
    gathering: Sequence[Match] = ()
    """The endpoints for which one more waits for its batch."""
    data_bytes: int = 0
    """Of the event's data, where some wait."""
    queues: Sequence[Queue] = ()
    """The queues that have one more."""

    def announce(self) -> None:
        """Tell the workers; never fails, and never takes long."""
        bell.ring(self.pending)
        if self.gathering:
            gathering.announce(self.gathering, self.data_bytes)
        if self.queues:
            bell.ring(ordering.advance(self.queues))


def write_event(event: Event, matches: Sequence[Match]) -> Made | None:
    """Insert `event` and a delivery for each match, in one statement.

    None, and nothing is written, where an event with its idempotency key is there already.
    """
    event.created_at = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(
            WRITE_EVENT,
            {
                "event": to_uuid(event.pk),
                "type": event.type,
                "subscriber": event.subscriber_id and to_uuid(event.subscriber_id),
                "channels": event.channels,
                "payload": event.payload,
                "occurred_at": event.occurred_at,
                "created_at": event.created_at,
                "idempotency_key": event.idempotency_key,
                "delivery_count": event.delivery_count,
                "fanned_out_at": event.fanned_out_at,
                "traceparent": event.traceparent,
                "ordering_key": event.ordering_key,
                **_new_deliveries(event, matches),
            },
        )
        [(written, pending)] = cursor.fetchall()
    event._state.adding = False
    return _made(event, matches, len(matches), pending) if written else None


def make_deliveries(event: Event, matches: Sequence[Match]) -> Made:
    """Insert a delivery of `event` to each endpoint that has none yet; tells which were made."""
    if not matches:
        return Made()
    with connection.cursor() as cursor:
        cursor.execute(
            MAKE_DELIVERIES,
            {"event": to_uuid(event.pk), **_new_deliveries(event, matches)},
        )
        made = cursor.fetchall()
    pending = [delivery for delivery, state in made if state == "pending"]
    return _made(event, matches, len(made), pending)


def make_missed(match: Match, events: Mapping[UUID, str | None]) -> Made:
    """Insert the deliveries that an endpoint lacks of events, given by id with ordering key."""
    with connection.cursor() as cursor:
        cursor.execute(
            MAKE_MISSED,
            {
                "ids": [uuid7() for _ in events],
                "events": list(events),
                "states": [_first_state(key, match) for key in events.values()],
                "endpoint": match.endpoint,
            },
        )
        made = cursor.fetchall()
    return Made(
        len(made),
        pending=[delivery for delivery, state, _ in made if state == "pending"],
        gathering=[match for _, state, _ in made if state == "gathering"],
        queues=[(match.endpoint, key) for _, state, key in made if state == "queued"],
    )


def _new_deliveries(event: Event, matches: Sequence[Match]) -> dict[str, list[object]]:
    return {
        "ids": [uuid7() for _ in matches],
        "endpoints": [match.endpoint for match in matches],
        "states": [_first_state(event.ordering_key, match) for match in matches],
    }


def _first_state(ordering_key: str | None, match: Match) -> str:
    if match.ordered and ordering_key is not None:
        return "queued"
    if not match.takes_deliveries:
        return "held"
    return "pending" if match.batch_events is None else "gathering"


def _made(event: Event, matches: Sequence[Match], count: int, pending: Sequence[UUID]) -> Made:
    gathering = [match for match in matches if match.batch_events and match.takes_deliveries]
    queues: list[Queue] = []
    if event.ordering_key is not None:
        queues = [(match.endpoint, event.ordering_key) for match in matches if match.ordered]
    data_bytes = len(event.payload.encode()) if gathering else 0
    return Made(count, pending, gathering, data_bytes, queues)


def fan_out_chunk(event_id: str) -> Made | None:
    """Make the next chunk of an event's deliveries.

    None when there is nothing left to do here: all are made, or another worker is at it. Whoever
    dies half way loses the chunk alone: how far the fan-out got is committed with each chunk.
    """
    chunk = part(DeliverySettings).fan_out_chunk
    with transaction.atomic():
        event = (
            Event.objects.select_for_update(skip_locked=True, no_key=True)
            .filter(pk=event_id, fanned_out_at=None)
            .only("type", "subscriber_id", "channels", "fan_out_after", "ordering_key")
            .first()
        )
        if event is None:
            return None
        matches = endpoints_matching(
            event.type,
            subscriber=event.subscriber_id,
            channels=event.channels,
            limit=chunk,
            after=event.fan_out_after,
        )
        sifted = sift(matches, lambda: event.data)
        made = make_deliveries(event, sifted.passing)
        # How far it got goes by what was looked at, not by what the filters left of it.
        looked_at = matches[: sifted.judged]
        Event.objects.filter(pk=event_id).update(
            delivery_count=F("delivery_count") + made.count,
            fan_out_after=looked_at[-1].endpoint if looked_at else event.fan_out_after,
            fanned_out_at=timezone.now() if len(looked_at) == len(matches) < chunk else None,
        )
        note_failures(event.pk, sifted.failures)
    return made
