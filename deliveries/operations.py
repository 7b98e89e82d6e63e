"""What a person may ask of deliveries: try now, redrive, discard. Set-based: a list of ids in.

To redrive and to discard are decisions, which the history has: one entry for a list.
"""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from deliveries import bell
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
        SELECT id FROM deliveries_delivery
         WHERE id = ANY(%(ids)s) AND state = 'dead'
         ORDER BY id FOR NO KEY UPDATE
    ), letter AS (
        UPDATE deliveries_deadletter SET resolution = %(resolution)s, resolved_at = now()
          FROM dead WHERE delivery_id = dead.id AND resolution = ''
    )
    UPDATE deliveries_delivery delivery
       SET state = 'pending', round_start = attempt_number, ended_at = NULL, rung_at = now()
      FROM dead WHERE delivery.id = dead.id
 RETURNING delivery.id
"""

DISCARD = """
    WITH doomed AS (
        SELECT id FROM deliveries_delivery
         WHERE id = ANY(%(ids)s) AND state IN ('pending', 'waiting', 'held', 'dead')
         ORDER BY id FOR NO KEY UPDATE
    ), letter AS (
        UPDATE deliveries_deadletter SET resolution = %(resolution)s, resolved_at = now()
          FROM doomed WHERE delivery_id = doomed.id AND resolution = ''
    )
    UPDATE deliveries_delivery delivery
       SET state = 'discarded', next_attempt_at = NULL, rung_at = NULL, ended_at = now()
      FROM doomed WHERE delivery.id = doomed.id
 RETURNING delivery.id
"""


def retry_now(deliveries: Collection[UUID]) -> list[UUID]:
    """Try waiting deliveries at once instead of when they are due; returns which they were."""
    return _change_and_ring(RETRY, [list(deliveries)])


def redrive(
    deliveries: Collection[UUID],
    resolution: DeadLetter.Resolution = DeadLetter.Resolution.REDRIVEN,
) -> list[UUID]:
    """Send dead deliveries again, with the whole retry schedule before them; returns which."""
    with transaction.atomic():
        redriven = _change_and_ring(
            REDRIVE, {"ids": list(deliveries), "resolution": resolution.value}
        )
        _note(resolution, redriven)
    return redriven


def discard(
    deliveries: Collection[UUID],
    resolution: DeadLetter.Resolution = DeadLetter.Resolution.DISCARDED,
) -> list[UUID]:
    """Give deliveries up that have not been delivered; returns which they were."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(DISCARD, {"ids": list(deliveries), "resolution": resolution.value})
            discarded = [row[0] for row in cursor.fetchall()]
        _note(resolution, discarded)
    return discarded


def _change_and_ring(statement: str, arguments: list[list[UUID]] | dict[str, Any]) -> list[UUID]:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(statement, arguments)
            changed = [row[0] for row in cursor.fetchall()]
        if changed:
            transaction.on_commit(lambda: bell.ring(changed), robust=True)
    return changed


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
