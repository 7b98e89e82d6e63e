"""What a person may ask of deliveries: try now, redrive, discard. Set-based: a list of ids in.

To redrive and to discard are decisions, which the history has: one entry for a list.
"""

from collections.abc import Collection
from uuid import UUID

from django.db import connection, transaction

from deliveries import bell, ordering
from deliveries.models import DeadLetter, Delivery
from subscriptions.history import HistoryEntry
from subscriptions.ids import from_uuid

RETRY = """
    UPDATE deliveries_delivery SET next_attempt_at = now(), rung_at = now()
     WHERE id IN (SELECT id FROM deliveries_delivery
                   WHERE id = ANY(%s) AND state = 'waiting'
                   ORDER BY id FOR NO KEY UPDATE)
 RETURNING id
"""

# The delivery is locked before its dead letter, as record() and discard() do.
REDRIVE = """
    WITH dead AS (
        SELECT delivery.id,
               CASE WHEN endpoint.ordered AND ordering_key IS NOT NULL THEN 'queued'
                    WHEN endpoint.batch_events IS NOT NULL THEN 'gathering'
                    ELSE 'pending' END AS becomes
          FROM deliveries_delivery delivery
          JOIN subscriptions_endpoint endpoint ON endpoint.id = delivery.endpoint_id
         WHERE delivery.id = ANY(%(ids)s) AND delivery.state = 'dead'
         ORDER BY delivery.id FOR NO KEY UPDATE OF delivery
    ), letter AS (
        UPDATE deliveries_deadletter SET resolution = %(resolution)s, resolved_at = now()
          FROM dead WHERE delivery_id = dead.id AND resolution = ''
    )
    UPDATE deliveries_delivery delivery
       SET state = dead.becomes,
           lead_id = NULL, batch_size = NULL,
           ordering_key = CASE dead.becomes WHEN 'queued' THEN ordering_key END,
           round_start = attempt_number, ended_at = NULL,
           rung_at = CASE dead.becomes WHEN 'pending' THEN now() END
      FROM dead WHERE delivery.id = dead.id
 RETURNING delivery.id, delivery.state, delivery.endpoint_id, delivery.ordering_key
"""

DISCARD = """
    WITH doomed AS (
        SELECT id FROM deliveries_delivery
         WHERE id = ANY(%(ids)s)
           AND state IN ('pending', 'waiting', 'held', 'gathering', 'queued', 'dead')
         ORDER BY id FOR NO KEY UPDATE
    ), letter AS (
        UPDATE deliveries_deadletter SET resolution = %(resolution)s, resolved_at = now()
          FROM doomed WHERE delivery_id = doomed.id AND resolution = ''
    )
    UPDATE deliveries_delivery delivery
       SET state = 'discarded', next_attempt_at = NULL, rung_at = NULL, ended_at = now()
      FROM doomed WHERE delivery.id = doomed.id
 RETURNING delivery.id, delivery.endpoint_id, delivery.ordering_key
"""


def retry_now(deliveries: Collection[UUID]) -> list[UUID]:
    """Try waiting deliveries at once instead of when they are due; returns which they were."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(RETRY, [list(deliveries)])
        changed = [row[0] for row in cursor.fetchall()]
        transaction.on_commit(lambda: bell.ring(changed), robust=True)
    return changed


def redrive(
    deliveries: Collection[UUID],
    resolution: DeadLetter.Resolution = DeadLetter.Resolution.REDRIVEN,
    *,
    noted: bool = True,
) -> list[UUID]:
    """Send dead deliveries again, with the whole retry schedule before them; returns which.

    Not `noted` where the history has an entry of the decision already.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(REDRIVE, {"ids": list(deliveries), "resolution": resolution.value})
        rows = cursor.fetchall()
        redriven = [delivery for delivery, *_ in rows]
        if noted:
            _note(resolution, redriven)
        pending = [delivery for delivery, state, *_ in rows if state == "pending"]
        gathering = {endpoint for _, state, endpoint, _ in rows if state == "gathering"}
        queues = [(endpoint, key) for _, state, endpoint, key in rows if state == "queued"]
        transaction.on_commit(lambda: bell.ring(pending), robust=True)
        transaction.on_commit(lambda: bell.ring_for_batches(gathering), robust=True)
        transaction.on_commit(lambda: bell.ring(ordering.advance(queues)), robust=True)
    return redriven


def discard(
    deliveries: Collection[UUID],
    resolution: DeadLetter.Resolution = DeadLetter.Resolution.DISCARDED,
    *,
    noted: bool = True,
) -> list[UUID]:
    """Give deliveries up that have not been delivered; returns which they were."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(DISCARD, {"ids": list(deliveries), "resolution": resolution.value})
        rows = cursor.fetchall()
        discarded = [delivery for delivery, *_ in rows]
        if noted:
            _note(resolution, discarded)
        queues = [(endpoint, key) for _, endpoint, key in rows if key is not None]
        transaction.on_commit(lambda: bell.ring(ordering.advance(queues)), robust=True)
    return discarded


def _note(decision: DeadLetter.Resolution, deliveries: list[UUID]) -> None:
    if not deliveries:
        return
    ids = [from_uuid("dlv", delivery) for delivery in deliveries]
    owners = Delivery.objects.filter(pk__in=ids).order_by()
    endpoints = {*owners.values_list("endpoint", flat=True).distinct()[:2]}
    subscribers = {*owners.values_list("endpoint__subscriber", flat=True).distinct()[:2]}
    HistoryEntry.objects.create(
        action=HistoryEntry.Action(decision.value),
        kind=HistoryEntry.Kind.DELIVERY,
        object_id=_only(ids),
        count=len(ids),
        endpoint=_only(endpoints),
        subscriber=_only(subscribers),
    )


def _only(ids: Collection[str]) -> str:
    return next(iter(ids)) if len(ids) == 1 else ""
