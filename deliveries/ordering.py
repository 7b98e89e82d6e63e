"""Order: deliveries of one ordering key to one endpoint, one after another.

They form a queue. All are `queued` at first; the head moves up to `pending`, and lives as any
delivery does, when no other of its key is under way. Whoever writes a delivery, and whoever ends
one, looks for the next head after its own commit, so that one of them at least sees both.
"""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db import connection, transaction

Queue = tuple[UUID, str]
"""An endpoint and an ordering key."""

QUEUES_AT_ONCE = 500
"""So many are locked in one transaction at most."""

BEFORE_ALL: Queue = (UUID(int=0), "")

# Two that look at once could see two heads, where an event is committed after one with a higher
# ordinal. The lock is held for one short statement, never by who emits.
LOCK = """
    SELECT pg_advisory_xact_lock(hash) FROM (
        SELECT DISTINCT hashtextextended(endpoint || key, 0) AS hash
          FROM unnest(%(endpoints)s::text[], %(keys)s::text[]) AS queue (endpoint, key)
         ORDER BY hash) hashes
"""

# No head is waited for, lest a worker's loop stand still: who holds its row discards it, and looks
# for the next one then. An earlier event whose fan-out has not come by the endpoint may have a
# delivery to make.
ADVANCE = """
    WITH head AS (
        SELECT delivery.id,
               CASE WHEN endpoint.takes_deliveries THEN 'pending' ELSE 'held' END AS becomes
          FROM unnest(%(endpoints)s::uuid[], %(keys)s::text[]) AS queue (endpoint, key)
          JOIN subscriptions_endpoint endpoint ON endpoint.id = queue.endpoint
         CROSS JOIN LATERAL (
            SELECT id FROM deliveries_delivery
             WHERE endpoint_id = queue.endpoint AND ordering_key = queue.key AND state = 'queued'
             ORDER BY ordinal LIMIT 1
         ) first
          JOIN deliveries_delivery delivery ON delivery.id = first.id
         WHERE delivery.state = 'queued'
           AND NOT EXISTS (SELECT FROM deliveries_delivery other
                            WHERE other.endpoint_id = queue.endpoint
                              AND other.ordering_key = queue.key
                              AND other.state IN ('pending', 'sending', 'waiting', 'held'))
           AND NOT EXISTS (SELECT FROM deliveries_event earlier
                            WHERE earlier.fanned_out_at IS NULL
                              AND earlier.ordering_key = queue.key
                              AND earlier.ordinal < delivery.ordinal
                              AND (earlier.fan_out_after IS NULL
                                   OR earlier.fan_out_after < queue.endpoint))
           FOR NO KEY UPDATE OF delivery SKIP LOCKED
    )
    UPDATE deliveries_delivery delivery
       SET state = head.becomes, rung_at = CASE head.becomes WHEN 'pending' THEN now() END
      FROM head WHERE delivery.id = head.id
 RETURNING delivery.id, delivery.state
"""

# From one queue to the next, through the index: how long each is does not matter.
WALK = """
    WITH RECURSIVE step (endpoint, key, number) AS (
        (SELECT endpoint_id, ordering_key, 1 FROM deliveries_delivery
          WHERE state = 'queued' AND (endpoint_id, ordering_key) > (%(endpoint)s, %(key)s)
          ORDER BY endpoint_id, ordering_key LIMIT 1)
        UNION ALL
        SELECT next.endpoint_id, next.ordering_key, step.number + 1
          FROM step
         CROSS JOIN LATERAL (
            SELECT endpoint_id, ordering_key FROM deliveries_delivery
             WHERE state = 'queued' AND (endpoint_id, ordering_key) > (step.endpoint, step.key)
             ORDER BY endpoint_id, ordering_key LIMIT 1
         ) next
         WHERE step.number < %(limit)s
    ), look AS (
        SELECT step.*,
               NOT EXISTS (SELECT FROM deliveries_delivery other
                            WHERE other.endpoint_id = step.endpoint
                              AND other.ordering_key = step.key
                              AND other.state IN ('pending', 'sending', 'waiting', 'held')
                          ) AS stands
          FROM step
    )
    SELECT endpoint, key, stands, number FROM look
     WHERE stands OR number = %(limit)s
     ORDER BY number
"""

LEAVE = """
    WITH RECURSIVE step (endpoint) AS (
        (SELECT endpoint_id FROM deliveries_delivery
          WHERE state = 'queued' ORDER BY endpoint_id LIMIT 1)
        UNION ALL
        SELECT next.endpoint_id
          FROM step
         CROSS JOIN LATERAL (
            SELECT endpoint_id FROM deliveries_delivery
             WHERE state = 'queued' AND endpoint_id > step.endpoint
             ORDER BY endpoint_id LIMIT 1
         ) next
    ), leaving AS (
        SELECT queued.id,
               CASE WHEN endpoint.takes_deliveries THEN 'pending'
                    WHEN endpoint.state = 'deleted' THEN 'discarded'
                    ELSE 'held' END AS becomes
          FROM step
          JOIN subscriptions_endpoint endpoint ON endpoint.id = step.endpoint
         CROSS JOIN LATERAL (
            SELECT id FROM deliveries_delivery
             WHERE endpoint_id = endpoint.id AND state = 'queued'
             ORDER BY ordering_key, ordinal LIMIT %(limit)s
               FOR NO KEY UPDATE SKIP LOCKED
         ) queued
         WHERE endpoint.state = 'deleted' OR NOT endpoint.ordered
         LIMIT %(limit)s
    )
    UPDATE deliveries_delivery delivery
       SET state = leaving.becomes,
           ordering_key = NULL,
           rung_at = CASE leaving.becomes WHEN 'pending' THEN now() END,
           ended_at = CASE leaving.becomes WHEN 'discarded' THEN now() END
      FROM leaving WHERE delivery.id = leaving.id
 RETURNING delivery.id, delivery.state
"""


def advance(queues: Collection[Queue]) -> list[UUID]:
    """Let the head of each queue move up, if it may; returns those that are to be rung for.

    The head of an endpoint at rest is held. To be called after the commit of what made it the head.
    """
    moved: list[tuple[UUID, str]] = []
    distinct = list(dict.fromkeys(queues))
    for start in range(0, len(distinct), QUEUES_AT_ONCE):
        some = distinct[start : start + QUEUES_AT_ONCE]
        arguments: dict[str, Any] = {
            "endpoints": [endpoint for endpoint, _ in some],
            "keys": [key for _, key in some],
        }
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(LOCK, arguments)
            cursor.execute(ADVANCE, arguments)
            moved += cursor.fetchall()
    return [delivery for delivery, state in moved if state == "pending"]


class Walk:
    """Goes round all queues, so many at a time. Each process does so for itself."""

    def __init__(self) -> None:
        self.after = BEFORE_ALL

    def standing(self, limit: int) -> list[Queue]:
        """Those of the next `limit` queues of which none is under way."""
        endpoint, key = self.after
        with connection.cursor() as cursor:
            cursor.execute(WALK, {"endpoint": endpoint, "key": key, "limit": limit})
            rows = cursor.fetchall()
        is_cut = bool(rows) and rows[-1][3] == limit
        self.after = rows[-1][:2] if is_cut else BEFORE_ALL
        return [(endpoint, key) for endpoint, key, stands, _ in rows if stands]


def leave(limit: int) -> list[tuple[UUID, str]]:
    """Take out of their queues what waits for an endpoint that wants no order, or is deleted.

    Returns at most `limit` deliveries, and the states that they are in now.
    """
    with connection.cursor() as cursor:
        cursor.execute(LEAVE, {"limit": limit})
        left: list[tuple[UUID, str]] = cursor.fetchall()
    return left
