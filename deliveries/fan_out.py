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
from subscriptions.matching import Match, endpoints_matching, matching

LEFT_TO_THE_FAN_OUT = -1
"""A limit that even no delivery is above."""

FIRST_STATE = """
    CASE WHEN endpoint.ordered AND event.ordering_key IS NOT NULL THEN 'queued'
         WHEN NOT endpoint.takes_deliveries THEN 'held'
         WHEN endpoint.batch_events IS NULL THEN 'pending'
         ELSE 'gathering' END
"""

DELIVERIES = """
    INSERT INTO deliveries_delivery
           (id, event_id, endpoint_id, state, attempt_number, round_start, created_at, rung_at,
            ordering_key, ordinal)
    SELECT new.id, new.event, new.endpoint, new.state, 0, 0, now(),
           CASE new.state WHEN 'pending' THEN now() END,
           CASE new.state WHEN 'queued' THEN new.ordering_key END,
           CASE new.state WHEN 'queued' THEN new.ordinal END
      FROM new
        ON CONFLICT (event_id, endpoint_id) DO NOTHING
 RETURNING id, event_id, endpoint_id, state, ordering_key
"""

# Nothing is written where filters are to be judged first, and no delivery where there are too many.
# The deliveries' ids are one id whose last digits count.
WRITE_EVENT = f"""
    WITH match AS MATERIALIZED ({{matching}}
    ), found AS (
        SELECT count(*), count(*) <= %(inline_limit)s AS inline FROM match
        HAVING %(judged)s OR count(filters) = 0 OR count(*) > %(inline_limit)s
    ), event AS (
        INSERT INTO deliveries_event
               (id, type, subscriber_id, channels, payload, occurred_at, created_at,
                idempotency_key, delivery_count, fanned_out_at, traceparent, ordering_key, ordinal)
        SELECT %(event)s, %(type)s, %(subscriber)s, %(channels)s::varchar[], %(payload)s,
               %(occurred_at)s, %(created_at)s, %(idempotency_key)s,
               CASE WHEN found.inline THEN found.count ELSE 0 END,
               CASE WHEN found.inline THEN %(created_at)s END,
               %(traceparent)s, %(ordering_key)s,
               CASE WHEN %(ordering_key)s::text IS NOT NULL THEN nextval('deliveries_ordinal') END
          FROM found
            ON CONFLICT DO NOTHING
     RETURNING id, fanned_out_at, ordering_key, ordinal
    ), new AS (
        SELECT (left(%(id)s, -5) || lpad(to_hex(row_number() OVER ()), 5, '0'))::uuid AS id,
               event.id AS event, endpoint.id AS endpoint, {FIRST_STATE} AS state,
               event.ordering_key, event.ordinal
          FROM event JOIN match endpoint ON event.fanned_out_at IS NOT NULL
    ), delivery AS ({DELIVERIES})
    SELECT (SELECT count(*) FROM event), delivery.id, delivery.state, match.*
      FROM (SELECT) one LEFT JOIN match ON true
      LEFT JOIN delivery ON delivery.endpoint_id = match.id
"""

MAKE_DELIVERIES = f"""
    WITH new AS (
        SELECT given.id, event.id AS event, endpoint.id AS endpoint, {FIRST_STATE} AS state,
               event.ordering_key, event.ordinal
          FROM deliveries_event event
         CROSS JOIN unnest(%(ids)s::uuid[], %(endpoints)s::uuid[]) AS given (id, endpoint)
          JOIN subscriptions_endpoint endpoint ON endpoint.id = given.endpoint
         WHERE event.id = %(event)s
    ) {DELIVERIES}
"""

# The other way round: many events, one endpoint. Whoever drops old events has locked them.
MAKE_MISSED = f"""
    WITH event AS (
        SELECT id, ordering_key, ordinal FROM deliveries_event
         WHERE id = ANY(%(events)s)
         ORDER BY id FOR NO KEY UPDATE
    ), new AS (
        SELECT given.id, event.id AS event, endpoint.id AS endpoint, {FIRST_STATE} AS state,
               event.ordering_key, event.ordinal
          FROM event
          JOIN unnest(%(ids)s::uuid[], %(events)s::uuid[]) AS given (id, event)
               ON given.event = event.id
          JOIN subscriptions_endpoint endpoint ON endpoint.id = %(endpoint)s
    ), made AS ({DELIVERIES}
    ), counted AS (
        UPDATE deliveries_event event SET delivery_count = delivery_count + 1
          FROM made WHERE event.id = made.event_id
    )
    SELECT id, event_id, endpoint_id, state, ordering_key FROM made
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


def write_event(event: Event) -> Made | None:
    """Insert `event` and a delivery for each endpoint that gets it, in one statement.

    It takes two where filters are to be judged. Where there are more than FAN_OUT_INLINE_LIMIT, or
    their filters take long, the event's `fanned_out_at` stays None: the fan-out makes them. None,
    and nothing is written, where an event with its idempotency key is there already.
    """
    limit = part(DeliverySettings).fan_out_inline_limit
    event.created_at = timezone.now()
    written, matches, made = _write(event, limit)
    failures: Mapping[str, str] = {}
    if not written and any(match.filters for match in matches):
        sifted = sift(matches, lambda: event.data)
        if sifted.judged == len(matches):
            passing, failures = [match.endpoint for match in sifted.passing], sifted.failures
        else:
            passing, limit = [], LEFT_TO_THE_FAN_OUT
        written, matches, made = _write(event, limit, passing)
    if not written:
        return None
    event._state.adding = False
    if len(matches) <= limit:
        event.delivery_count, event.fanned_out_at = made.count, event.created_at
    note_failures(event.pk, failures)
    return made


def _write(
    event: Event, limit: int, among: Sequence[UUID] | None = None
) -> tuple[bool, list[Match], Made]:
    """Whether the event is written, which endpoints match, and what was made for them."""
    statement, parameters = matching(
        event.type,
        subscriber=event.subscriber_id,
        channels=event.channels,
        among=among,
        limit=limit + 1,
    )
    with connection.cursor() as cursor:
        cursor.execute(
            WRITE_EVENT.format(matching=statement),
            {
                **parameters,
                "inline_limit": limit,
                "judged": among is not None,
                "id": str(uuid7()),
                "event": to_uuid(event.pk),
                "type": event.type,
                "payload": event.payload,
                "occurred_at": event.occurred_at,
                "created_at": event.created_at,
                "idempotency_key": event.idempotency_key,
                "traceparent": event.traceparent,
                "ordering_key": event.ordering_key,
            },
        )
        rows = cursor.fetchall()
    matches = {row[3]: Match.of(row[3:]) for row in rows if row[3] is not None}
    made = [(delivery, endpoint, state) for _, delivery, state, endpoint, *_ in rows if delivery]
    return bool(rows[0][0]), list(matches.values()), _made(event, matches, made)


def make_deliveries(event: Event, matches: Sequence[Match]) -> Made:
    """Insert a delivery of `event` to each endpoint that has none yet; tells which were made."""
    if not matches:
        return Made()
    by_endpoint = {match.endpoint: match for match in matches}
    with connection.cursor() as cursor:
        cursor.execute(
            MAKE_DELIVERIES,
            {
                "event": to_uuid(event.pk),
                "ids": [uuid7() for _ in by_endpoint],
                "endpoints": list(by_endpoint),
            },
        )
        made = [
            (delivery, endpoint, state) for delivery, _, endpoint, state, _ in cursor.fetchall()
        ]
    return _made(event, by_endpoint, made)


def make_missed(match: Match, events: Mapping[UUID, str | None]) -> Made:
    """Insert the deliveries that an endpoint lacks of events, given by id with ordering key."""
    with connection.cursor() as cursor:
        cursor.execute(
            MAKE_MISSED,
            {
                "ids": [uuid7() for _ in events],
                "events": list(events),
                "endpoint": match.endpoint,
            },
        )
        made = cursor.fetchall()
    return Made(
        len(made),
        pending=[delivery for delivery, _, _, state, _ in made if state == "pending"],
        gathering=[match for *_, state, _ in made if state == "gathering"],
        queues=[(match.endpoint, key) for *_, state, key in made if state == "queued"],
    )


def _made(
    event: Event, matches: Mapping[UUID, Match], made: Sequence[tuple[UUID, UUID, str]]
) -> Made:
    """What was made, by the id, the endpoint and the state of each delivery."""
    gathering = [matches[endpoint] for _, endpoint, state in made if state == "gathering"]
    return Made(
        len(made),
        pending=[delivery for delivery, _, state in made if state == "pending"],
        gathering=gathering,
        data_bytes=len(event.payload.encode()) if gathering else 0,
        queues=[
            (endpoint, event.ordering_key)
            for _, endpoint, state in made
            if state == "queued" and event.ordering_key is not None
        ],
    )


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
