"""The sweeps: what makes good whatever was lost on the way, and clears up.

Each takes rows in bounded chunks and skips those that another transaction holds, so that two at
once do no harm; each returns how many rows it took.
"""

import logging
from datetime import timedelta
from functools import partial
from math import ceil
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Min
from django.utils import timezone
from uuid_utils.compat import uuid7

from deliveries import (
    batching,
    bell,
    handshakes,
    operational,
    operations,
    ordering,
    releasing,
    replays,
    telling,
)
from deliveries.chunks import in_chunks as _in_chunks
from deliveries.chunks import rows as _rows
from deliveries.conf import DeliverySettings
from deliveries.models import DeadLetter
from deliveries.pipeline import Lease, record
from subscriptions.conf import part
from subscriptions.health import warn
from subscriptions.history import HistoryEntry
from subscriptions.ids import from_uuid, lowest_uuid_at
from subscriptions.models import PortalSession, SigningSecret
from webhooks.sending.outcome import Outcome, OutcomeKind

logger = logging.getLogger(__name__)

_walk = ordering.Walk()
"""Where this process' sweeps have come to."""

DUE = """
    SELECT delivery.id, delivery.endpoint_id, endpoint.rate, endpoint.burst
      FROM (SELECT id, endpoint_id FROM deliveries_delivery
             WHERE state = 'waiting'
               AND next_attempt_at <= now()
               AND (rung_at IS NULL OR rung_at < now() - make_interval(secs => %(lost_after)s))
             ORDER BY next_attempt_at LIMIT %(limit)s
               FOR NO KEY UPDATE SKIP LOCKED) delivery
      JOIN subscriptions_endpoint endpoint ON endpoint.id = delivery.endpoint_id
"""

# Those that must wait for longer than a countdown may take are parked again.
RING_AT_TURN = """
    UPDATE deliveries_delivery delivery
       SET next_attempt_at = now() + make_interval(secs => turn.wait),
           rung_at = CASE WHEN turn.wait <= %(countdown_max)s
                          THEN now() + make_interval(secs => turn.wait) END
      FROM unnest(%(ids)s::uuid[], %(waits)s::float8[]) AS turn (id, wait)
     WHERE delivery.id = turn.id
"""

LOST = """
    UPDATE deliveries_delivery SET rung_at = now()
     WHERE id IN (
        SELECT id FROM deliveries_delivery
         WHERE state = 'pending' AND rung_at < now() - make_interval(secs => %(lost_after)s)
         ORDER BY rung_at LIMIT %(limit)s
           FOR NO KEY UPDATE SKIP LOCKED)
 RETURNING id
"""

UNFINISHED_FAN_OUTS = """
    SELECT id FROM deliveries_event
     WHERE fanned_out_at IS NULL
       AND created_at < now() - make_interval(secs => %(lost_after)s)
     ORDER BY created_at LIMIT %(limit)s
       FOR NO KEY UPDATE SKIP LOCKED
"""

STUCK = """
    SELECT id, endpoint_id, attempt_number, round_start, batch_size, ordering_key
      FROM deliveries_delivery
     WHERE state = 'sending' AND lease_expires_at < now()
     ORDER BY lease_expires_at LIMIT %(limit)s
       FOR NO KEY UPDATE SKIP LOCKED
"""

# Endpoint by endpoint through its index: what is held for others, however much, is not read.
HELD_FOR_DELETED = """
    UPDATE deliveries_delivery SET state = 'discarded', ended_at = now()
     WHERE id IN (
        SELECT delivery.id
          FROM subscriptions_endpoint endpoint
         CROSS JOIN LATERAL (
            SELECT id FROM deliveries_delivery
             WHERE endpoint_id = endpoint.id AND state = 'held' ORDER BY id LIMIT %(limit)s
         ) held
          JOIN deliveries_delivery delivery ON delivery.id = held.id
         WHERE endpoint.state = 'deleted'
         ORDER BY delivery.id LIMIT %(limit)s
           FOR NO KEY UPDATE OF delivery SKIP LOCKED)
 RETURNING id
"""

# Of an endpoint whose circuit is to be probed, the oldest delivery that is held for it.
PROBES = """
    WITH due AS (
        SELECT endpoint.id FROM subscriptions_endpoint endpoint
         WHERE endpoint.circuit = 'open' AND endpoint.probe_at <= now()
           AND endpoint.state = 'active'
           AND EXISTS (SELECT FROM deliveries_delivery held
                        WHERE held.endpoint_id = endpoint.id AND held.state = 'held')
         ORDER BY endpoint.probe_at LIMIT %(limit)s
           FOR NO KEY UPDATE SKIP LOCKED
    ), probe AS (
        SELECT due.id AS endpoint, held.id AS delivery
          FROM due
         CROSS JOIN LATERAL (
            SELECT id FROM deliveries_delivery
             WHERE endpoint_id = due.id AND state = 'held'
             ORDER BY id LIMIT 1
               FOR NO KEY UPDATE SKIP LOCKED) held
    ), half_open AS (
        UPDATE subscriptions_endpoint endpoint
           SET circuit = 'half_open', probe = probe.delivery, probe_at = NULL
          FROM probe WHERE endpoint.id = probe.endpoint
    )
    UPDATE deliveries_delivery delivery SET state = 'pending', rung_at = now()
      FROM probe WHERE delivery.id = probe.delivery
 RETURNING delivery.id
"""

# Its worker died, its endpoint was paused meanwhile, or a person discarded it: another takes over.
PROBES_THAT_TOLD_NOTHING = """
    UPDATE subscriptions_endpoint
       SET circuit = 'open', probe = NULL, probe_at = now()
     WHERE id IN (
        SELECT endpoint.id
          FROM subscriptions_endpoint endpoint
          LEFT JOIN deliveries_delivery delivery ON delivery.id = endpoint.probe
         WHERE endpoint.circuit = 'half_open' AND endpoint.state = 'active'
           AND (delivery.id IS NULL OR delivery.state NOT IN ('pending', 'sending'))
         LIMIT %(limit)s
           FOR NO KEY UPDATE OF endpoint SKIP LOCKED)
 RETURNING id
"""

# From one endpoint that has some to the next, through the index: how many it has is not read.
GATHERED = """
    WITH RECURSIVE step (endpoint) AS (
        (SELECT endpoint_id FROM deliveries_delivery
          WHERE state = 'gathering' ORDER BY endpoint_id LIMIT 1)
        UNION ALL
        SELECT (SELECT endpoint_id FROM deliveries_delivery
                 WHERE state = 'gathering' AND endpoint_id > step.endpoint
                 ORDER BY endpoint_id LIMIT 1)
          FROM step WHERE step.endpoint IS NOT NULL
    )
    SELECT endpoint.id
      FROM step
      JOIN subscriptions_endpoint endpoint ON endpoint.id = step.endpoint
     CROSS JOIN LATERAL (
        SELECT created_at FROM deliveries_delivery
         WHERE endpoint_id = endpoint.id AND state = 'gathering' ORDER BY id LIMIT 1
     ) oldest
     WHERE NOT endpoint.takes_deliveries OR endpoint.batch_events IS NULL
        OR oldest.created_at <= now() - make_interval(secs => endpoint.batch_seconds)
     LIMIT %(limit)s
"""

# Endpoint by endpoint through its index, as above. What is older than it may be held can have been
# held, or sent again, but lately: it has its whole time from then.
HELD_TOO_LONG = """
    WITH expired AS (
        UPDATE deliveries_delivery delivery SET state = 'dead', ended_at = now()
          FROM (SELECT held.id, endpoint.state
                  FROM subscriptions_endpoint endpoint
                 CROSS JOIN LATERAL (
                    SELECT id FROM deliveries_delivery old
                     WHERE endpoint_id = endpoint.id
                       AND state = %(state)s AND id < %(oldest_kept)s
                       AND NOT EXISTS (SELECT FROM deliveries_statechange
                                        WHERE delivery_id = old.id AND at >= %(oldest)s)
                     ORDER BY id LIMIT %(limit)s
                 ) old
                  JOIN deliveries_delivery held ON held.id = old.id
                 WHERE NOT endpoint.takes_deliveries AND endpoint.state <> 'deleted'
                   AND held.state = %(state)s
                 ORDER BY held.id LIMIT %(limit)s
                   FOR NO KEY UPDATE OF held SKIP LOCKED) held
         WHERE delivery.id = held.id
     RETURNING delivery.id, held.state
    )
    INSERT INTO deliveries_deadletter (id, delivery_id, reason, last_error, died_at, resolution)
    SELECT new.id, expired.id,
           CASE expired.state WHEN 'disabled' THEN 'endpoint_disabled' ELSE 'expired' END,
           CASE expired.state WHEN 'feed' THEN 'It was not fetched from its feed in time.'
                              WHEN 'active' THEN 'Its endpoint failed for too long.'
                ELSE 'Its endpoint was ' || expired.state || ' for too long.' END,
           now(), ''
      FROM (SELECT *, row_number() OVER () AS place FROM expired) expired
      JOIN unnest(%(ids)s::uuid[]) WITH ORDINALITY AS new (id, place) USING (place)
 RETURNING delivery_id
"""

# The next of an endpoint's that are redriven by themselves: each once, in no order, and only where
# a later delivery has arrived.
TO_RECOVER = """
    SELECT letter.id, letter.delivery_id
      FROM deliveries_deadletter letter
      JOIN deliveries_delivery delivery ON delivery.id = letter.delivery_id
     WHERE letter.endpoint_id = endpoint.id
       AND letter.resolution = '' AND letter.reason = 'exhausted'
       AND letter.died_at < endpoint.last_success_at
       AND delivery.ordering_key IS NULL
       AND NOT EXISTS (SELECT FROM deliveries_deadletter earlier
                        WHERE earlier.delivery_id = letter.delivery_id
                          AND earlier.resolution = 'recovered')
     ORDER BY letter.id
"""

# From one endpoint that has some to the next, through the index. What there is room for is dealt
# out evenly among those that work again, in an order that is another each time; of each no more
# than is left of its rate for a minute.
RECOVERED_DEAD_LETTERS = f"""
    WITH RECURSIVE step (endpoint) AS (
        (SELECT endpoint_id FROM deliveries_deadletter
          WHERE resolution = '' AND reason = 'exhausted' ORDER BY endpoint_id LIMIT 1)
        UNION ALL
        SELECT (SELECT endpoint_id FROM deliveries_deadletter
                 WHERE resolution = '' AND reason = 'exhausted' AND endpoint_id > step.endpoint
                 ORDER BY endpoint_id LIMIT 1)
          FROM step WHERE step.endpoint IS NOT NULL
    ), lately AS (
        SELECT endpoint_id, count(*) FROM deliveries_deadletter
         WHERE resolution = 'recovered' AND resolved_at > now() - interval '1 minute'
         GROUP BY endpoint_id
    ), healthy AS (
        SELECT endpoint.id, endpoint.last_success_at,
               %(a_minute)s - coalesce(lately.count, 0) AS allowed,
               count(*) OVER () AS endpoints
          FROM step
          JOIN subscriptions_endpoint endpoint ON endpoint.id = step.endpoint
          LEFT JOIN lately ON lately.endpoint_id = endpoint.id
         WHERE endpoint.takes_deliveries AND endpoint.failing_since IS NULL
           AND EXISTS ({TO_RECOVER} LIMIT 1)
         ORDER BY random()
    )
    SELECT mine.delivery_id
      FROM healthy endpoint
     CROSS JOIN LATERAL (
        SELECT delivery_id, row_number() OVER (ORDER BY id) AS place
          FROM ({TO_RECOVER}
                 LIMIT greatest(0, least(allowed, ceil(%(limit)s::float8 / endpoints)))) next
     ) mine
     ORDER BY mine.place
     LIMIT %(limit)s
"""

OLD_DEAD_LETTERS = """
    SELECT delivery.id
      FROM deliveries_deadletter letter
      JOIN deliveries_delivery delivery ON delivery.id = letter.delivery_id
     WHERE letter.resolution = ''
       AND letter.died_at < now() - make_interval(secs => %(retention)s)
     ORDER BY delivery.id LIMIT %(limit)s
       FOR NO KEY UPDATE OF delivery SKIP LOCKED
"""


def due() -> int:
    """Enqueue the deliveries whose wait is over and for which no message is under way.

    Where many to one endpoint are due at once, they come one after another.
    """
    settings = part(DeliverySettings)

    def chunk(limit: int) -> int:
        with transaction.atomic():
            rows = _rows(DUE, limit, lost_after=settings.lost_after)
            waits = releasing.spread(rows)
            with connection.cursor() as cursor:
                cursor.execute(
                    RING_AT_TURN,
                    {
                        "ids": list(waits),
                        "waits": list(waits.values()),
                        "countdown_max": settings.retry_countdown_max,
                    },
                )
        bell.ring_later(
            {one: wait for one, wait in waits.items() if wait <= settings.retry_countdown_max}
        )
        return len(rows)

    return _in_chunks(chunk, at_most=bell.room())


def due_handshakes() -> int:
    """Enqueue the challenges that are to be sent (again)."""
    endpoints = handshakes.due(part(DeliverySettings).sweep_chunk)
    bell.ring_for_handshakes(endpoints)
    return len(endpoints)


def due_replays() -> int:
    """Ask again for the replays whose message is lost, or whose endpoint is active again.

    Those whose endpoint is deleted are cancelled.
    """
    limit = part(DeliverySettings).sweep_chunk
    found = replays.due(limit)
    bell.ring_for_replays(dict.fromkeys(found, 0.0))
    return len(found) + len(replays.cancel_orphans(limit))


def notices() -> int:
    """Make events of what the operators are to be told."""
    return _in_chunks(operational.announce)


def lost() -> int:
    """Enqueue again the pending deliveries whose message has not reached a worker in time."""
    return _ring_in_chunks(LOST)


def unfinished_fan_outs() -> int:
    """Ask again for the fan-outs that have not ended in time."""
    settings = part(DeliverySettings)
    rows = _rows(UNFINISHED_FAN_OUTS, settings.sweep_chunk, lost_after=settings.lost_after)
    bell.ring_for_fan_out([from_uuid("evt", event) for (event,) in rows])
    return len(rows)


def stuck() -> int:
    """Take deliveries back whose lease ran out: their worker died, or lost the database."""

    def chunk(limit: int) -> int:
        with transaction.atomic():
            leases = [Lease(*row) for row in _rows(STUCK, limit)]
            interrupted = Outcome(
                kind=OutcomeKind.INTERRUPTED,
                error="The worker was lost before it could tell what came of the attempt.",
            )
            retries = record([(lease, interrupted) for lease in leases]) if leases else {}
        if retries:
            bell.ring(retries)
        return len(leases)

    return _in_chunks(chunk)


def held() -> int:
    """Release what is held for endpoints that take deliveries; discard it for deleted ones."""
    settings = part(DeliverySettings)
    share = min(settings.sweep_chunk * settings.sweep_chunks, bell.room())
    released = releasing.release(share) if share else 0
    return released + _in_chunks(lambda limit: len(_rows(HELD_FOR_DELETED, limit)))


def probes() -> int:
    """Let one delivery to each endpoint whose circuit is to be probed go ahead."""
    limit = part(DeliverySettings).sweep_chunk
    _rows(PROBES_THAT_TOLD_NOTHING, limit)
    deliveries = [delivery for (delivery,) in _rows(PROBES, limit)]
    bell.ring(deliveries)
    return len(deliveries)


def failing_endpoints() -> int:
    """Warn of endpoints that have failed for long, and disable those that have for too long."""
    return _in_chunks(warn)


def batched() -> int:
    """Let those follow whose lead has ended by other ways than an attempt."""
    return _in_chunks(lambda limit: batching.follow(None, limit))


def gathered() -> int:
    """Form the batches that are late: Redis has lost count, or their endpoint has changed."""
    formed = 0
    room = bell.room()
    for (endpoint,) in _rows(GATHERED, part(DeliverySettings).sweep_chunk):
        if formed >= room:
            break
        leads = batching.form(endpoint)
        bell.ring(leads)
        formed += len(leads)
    return formed


def queued() -> int:
    """Let the heads move up of queues that stand still: whoever was to do so has died."""
    settings = part(DeliverySettings)
    share = min(settings.sweep_chunk * settings.sweep_chunks, bell.room())
    if not share:
        return 0
    moved = ordering.advance(_walk.standing(share))
    bell.ring(moved)
    return len(moved)


def dissolved() -> int:
    """Take deliveries out of the queues of endpoints that want no order now, or are deleted."""

    def chunk(limit: int) -> int:
        rows = ordering.leave(limit)
        bell.ring([delivery for delivery, state in rows if state == "pending"])
        return len(rows)

    return _in_chunks(chunk, at_most=bell.room())


def held_too_long() -> int:
    """Make dead letters of what has been held, or queued behind it, longer than HELD_RETENTION."""
    oldest = timezone.now() - timedelta(seconds=part(DeliverySettings).held_retention)

    def chunk(state: str, limit: int) -> int:
        expired = _rows(
            HELD_TOO_LONG,
            limit,
            state=state,
            oldest=oldest,
            oldest_kept=lowest_uuid_at(oldest),
            ids=[uuid7() for _ in range(limit)],
        )
        telling.ended("dead" for _ in expired)
        return len(expired)

    return sum(_in_chunks(partial(chunk, state)) for state in ("held", "queued"))


def recovered_dead_letters() -> int:
    """Redrive, once each, the dead letters whose endpoint has since taken another delivery.

    Of one endpoint at most RECOVERY_RATE a second, however many it has; none waits for another's.
    """
    settings = part(DeliverySettings)
    room = min(settings.sweep_chunk * settings.sweep_chunks, bell.room())
    a_minute = ceil(60 * settings.recovery_rate)
    found = [delivery for (delivery,) in _rows(RECOVERED_DEAD_LETTERS, room, a_minute=a_minute)]
    redriven = 0
    for start in range(0, len(found), settings.sweep_chunk):
        chunk = found[start : start + settings.sweep_chunk]
        redriven += len(operations.redrive(chunk, DeadLetter.Resolution.RECOVERED))
    return redriven


def old_dead_letters() -> int:
    """Discard the deliveries whose dead letter nobody cared for within DEAD_LETTER_RETENTION."""

    def chunk(limit: int) -> int:
        with transaction.atomic():
            rows = _rows(
                OLD_DEAD_LETTERS, limit, retention=part(DeliverySettings).dead_letter_retention
            )
            operations.discard([delivery for (delivery,) in rows], DeadLetter.Resolution.DROPPED)
        return len(rows)

    return _in_chunks(chunk)


def count_dead_letters() -> int:
    """Count the open dead letters, and warn of them."""
    open_letters = DeadLetter.objects.filter(resolution="")
    count = open_letters.count()
    if count:
        oldest = open_letters.aggregate(Min("died_at"))["died_at__min"]
        logger.warning("dead letters: %d open, the oldest since %s", count, oldest.isoformat())
    return count


def expired_secrets() -> int:
    """Delete the signing secrets whose overlap with their successor is over."""
    return _in_chunks(SigningSecret.objects.drop_expired)


def expired_portal_sessions() -> int:
    """Delete the sessions of the portal that are over."""
    return _in_chunks(PortalSession.objects.drop_expired)


def old_history() -> int:
    """Drop the entries of the history that are older than HISTORY_RETENTION."""
    oldest = timezone.now() - timedelta(seconds=part(DeliverySettings).history_retention)
    return _in_chunks(lambda limit: HistoryEntry.objects.drop_before(oldest, limit))


def _ring_in_chunks(statement: str) -> int:
    def chunk(limit: int) -> int:
        deliveries: list[UUID] = [
            delivery
            for (delivery,) in _rows(statement, limit, lost_after=part(DeliverySettings).lost_after)
        ]
        bell.ring(deliveries)
        return len(deliveries)

    return _in_chunks(chunk, at_most=bell.room())
