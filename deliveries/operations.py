"""What a person may ask of deliveries: try now, redrive, replay, discard. A list of ids in.

All but the first are decisions, which the history has: one entry for a list.
"""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from deliveries import batching, bell, ordering
from deliveries.lifecycle import FINAL
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

# The delivery is locked before its dead letter, as record() and discard() do. What was fetched from
# a feed keeps its place there; what would be sent to a deleted endpoint would only be discarded.
SEND_AGAIN = """
    WITH ended AS (
        SELECT delivery.id,
               CASE WHEN endpoint.ordered AND ordering_key IS NOT NULL THEN 'queued'
                    WHEN NOT endpoint.takes_deliveries THEN 'held'
                    WHEN endpoint.batch_events IS NOT NULL THEN 'gathering'
                    ELSE 'pending' END AS becomes
          FROM deliveries_delivery delivery
          JOIN subscriptions_endpoint endpoint ON endpoint.id = delivery.endpoint_id
         WHERE delivery.id = ANY(%(ids)s) AND delivery.state = ANY(%(states)s)
           AND delivery.feed_position IS NULL AND endpoint.state <> 'deleted'
         ORDER BY delivery.id FOR NO KEY UPDATE OF delivery
    ), letter AS (
        UPDATE deliveries_deadletter SET resolution = %(resolution)s, resolved_at = now()
          FROM ended WHERE delivery_id = ended.id AND resolution = ''
    )
    UPDATE deliveries_delivery delivery
       SET state = ended.becomes,
           lead_id = NULL, batch_size = NULL,
           ordering_key = CASE ended.becomes WHEN 'queued' THEN ordering_key END,
           round_start = attempt_number, ended_at = NULL,
           rung_at = CASE ended.becomes WHEN 'pending' THEN now() END
      FROM ended WHERE delivery.id = ended.id
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
    with transaction.atomic():
        redriven = send_again(deliveries, [Delivery.State.DEAD], resolution)
        if noted:
            _note(resolution, redriven)
    return redriven


def replay(deliveries: Collection[UUID]) -> list[UUID]:
    """Send deliveries again that have ended, however that was; returns which they were."""
    resolution = DeadLetter.Resolution.REPLAYED
    with transaction.atomic():
        replayed = send_again(deliveries, FINAL, resolution)
        _note(resolution, replayed)
    return replayed


def send_again(
    deliveries: Collection[UUID],
    states: Collection[str],
    resolution: DeadLetter.Resolution,
) -> list[UUID]:
    """Put deliveries on their way that are in one of these final states; returns which they were.

    Each has the whole retry schedule before it, and the id that it had. To be noted by the caller.
    Those for which there is no room in the queue are rung for by the sweep, as it has some.
    """
    asked: dict[str, Any] = {
        "ids": list(deliveries),
        "states": [str(state) for state in states],
        "resolution": resolution.value,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        # Who is in the batch of one of them shares what became of it, not what will.
        batching.follow(asked["ids"])
        cursor.execute(SEND_AGAIN, asked)
        rows = cursor.fetchall()
        pending = [delivery for delivery, state, *_ in rows if state == "pending"]
        gathering = {endpoint for _, state, endpoint, _ in rows if state == "gathering"}
        queues = [(endpoint, key) for _, state, endpoint, key in rows if state == "queued"]
        transaction.on_commit(lambda: bell.ring(pending[: bell.room()]), robust=True)
        transaction.on_commit(lambda: bell.ring_for_batches(gathering), robust=True)
        transaction.on_commit(lambda: bell.ring(ordering.advance(queues)), robust=True)
    return [delivery for delivery, *_ in rows]


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
