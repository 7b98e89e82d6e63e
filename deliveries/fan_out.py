"""Write events and their deliveries: one for each endpoint that matches, never two."""

from collections.abc import Sequence
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from uuid_utils.compat import uuid7

from deliveries.conf import DeliverySettings
from deliveries.models import Event
from subscriptions.conf import part
from subscriptions.filtering import note_failures, sift
from subscriptions.ids import to_uuid
from subscriptions.matching import Match, endpoints_matching

DELIVERIES = """
    INSERT INTO deliveries_delivery
           (id, event_id, endpoint_id, state, attempt_number, round_start, created_at, rung_at)
    SELECT new.id, event.id, new.endpoint,
           CASE new.endpoint_state WHEN 'active' THEN 'pending' ELSE 'held' END, 0, 0, now(),
           CASE new.endpoint_state WHEN 'active' THEN now() END
      FROM event, unnest(%(ids)s::uuid[], %(endpoints)s::uuid[], %(states)s::text[])
           AS new (id, endpoint, endpoint_state)
        ON CONFLICT (event_id, endpoint_id) DO NOTHING
 RETURNING id, state
"""

MAKE_DELIVERIES = f"WITH event AS (SELECT %(event)s::uuid AS id) {DELIVERIES}"

WRITE_EVENT = f"""
    WITH event AS (
        INSERT INTO deliveries_event
               (id, type, subscriber_id, channels, payload, occurred_at, created_at,
                idempotency_key, delivery_count, fanned_out_at)
        VALUES (%(event)s, %(type)s, %(subscriber)s, %(channels)s, %(payload)s, %(occurred_at)s,
                %(created_at)s, %(idempotency_key)s, %(delivery_count)s, %(fanned_out_at)s)
            ON CONFLICT DO NOTHING
     RETURNING id
    ), delivery AS ({DELIVERIES})
    SELECT (SELECT count(*) FROM event), ARRAY(SELECT id FROM delivery WHERE state = 'pending')
"""


def write_event(event: Event, matches: Sequence[Match]) -> list[UUID] | None:
    """Insert `event` and a delivery for each match, in one statement; returns the pending ones.

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
                **_new_deliveries(matches),
            },
        )
        [(written, pending)] = cursor.fetchall()
    event._state.adding = False
    return pending if written else None


def make_deliveries(event: str, matches: Sequence[Match]) -> tuple[int, list[UUID]]:
    """Insert a delivery of `event` to each endpoint that has none yet.

    Returns how many there are now that were not, and which of them are pending.
    """
    if not matches:
        return 0, []
    with connection.cursor() as cursor:
        cursor.execute(MAKE_DELIVERIES, {"event": to_uuid(event), **_new_deliveries(matches)})
        made = cursor.fetchall()
    return len(made), [delivery for delivery, state in made if state == "pending"]


def _new_deliveries(matches: Sequence[Match]) -> dict[str, list[object]]:
    return {
        "ids": [uuid7() for _ in matches],
        "endpoints": [match.endpoint for match in matches],
        "states": [match.state for match in matches],
    }


def fan_out_chunk(event_id: str) -> list[UUID] | None:
    """Make the next chunk of an event's deliveries; returns the pending ones.

    None when there is nothing left to do here: all are made, or another worker is at it. Whoever
    dies half way loses the chunk alone: how far the fan-out got is committed with each chunk.
    """
    chunk = part(DeliverySettings).fan_out_chunk
    with transaction.atomic():
        event = (
            Event.objects.select_for_update(skip_locked=True, no_key=True)
            .filter(pk=event_id, fanned_out_at=None)
            .only("type", "subscriber_id", "channels", "fan_out_after")
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
        made, pending = make_deliveries(event.pk, sifted.passing)
        # How far it got goes by what was looked at, not by what the filters left of it.
        looked_at = matches[: sifted.judged]
        Event.objects.filter(pk=event_id).update(
            delivery_count=F("delivery_count") + made,
            fan_out_after=looked_at[-1].endpoint if looked_at else event.fan_out_after,
            fanned_out_at=timezone.now() if len(looked_at) == len(matches) < chunk else None,
        )
        note_failures(event.pk, sifted.failures)
    return pending
