"""Order: deliveries of one ordering key to one endpoint, one after another.

They form a queue. All are `queued` at first; the head moves up to `pending`, and lives as any
delivery does, when none of its queue is under way. Whoever writes a delivery, and whoever ends one,
looks for the next head after its own commit, so that one of them at least sees both.
"""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db import connection, transaction

Queue = tuple[UUID, str]
"""An endpoint and an ordering key."""

QUEUES_AT_ONCE = 500
"""So many are locked in one transaction at most."""

# Two that look at once could see two heads, where an event is committed after one with a higher
# ordinal. The lock is held for one short statement, never by who emits.
LOCK = """
    SELECT pg_advisory_xact_lock(hash) FROM (
        SELECT DISTINCT hashtextextended(endpoint || key, 0) AS hash
          FROM unnest(%(endpoints)s::text[], %(keys)s::text[]) AS queue (endpoint, key)
         ORDER BY hash) hashes
"""

# What is held comes first, if it is its turn. An earlier event that is still being fanned out may
# have a delivery to come.
ADVANCE = """
    UPDATE deliveries_delivery delivery SET state = 'pending', rung_at = now()
      FROM unnest(%(endpoints)s::uuid[], %(keys)s::text[]) AS queue (endpoint, key)
     CROSS JOIN LATERAL (
        SELECT id, ordinal FROM deliveries_delivery
         WHERE endpoint_id = queue.endpoint AND ordering_key = queue.key
           AND state IN ('queued', 'held')
         ORDER BY ordinal LIMIT 1
     ) head
     WHERE delivery.id = head.id AND delivery.state = 'queued'
       AND NOT EXISTS (SELECT FROM deliveries_delivery before
                        WHERE before.endpoint_id = queue.endpoint
                          AND before.ordering_key = queue.key
                          AND before.state IN ('pending', 'sending', 'waiting'))
       AND NOT EXISTS (SELECT FROM deliveries_event earlier
                        WHERE earlier.fanned_out_at IS NULL
                          AND earlier.ordering_key = queue.key
                          AND earlier.ordinal < head.ordinal)
 RETURNING delivery.id
"""

# From one queue to the next, through the index: how long each is does not matter.
STANDING = """
    WITH RECURSIVE step (endpoint, key) AS (
        (SELECT endpoint_id, ordering_key FROM deliveries_delivery
          WHERE ordering_key IS NOT NULL AND state IN ('queued', 'held')
          ORDER BY endpoint_id, ordering_key LIMIT 1)
        UNION ALL
        SELECT next.endpoint_id, next.ordering_key
          FROM step
         CROSS JOIN LATERAL (
            SELECT endpoint_id, ordering_key FROM deliveries_delivery
             WHERE ordering_key IS NOT NULL AND state IN ('queued', 'held')
               AND (endpoint_id, ordering_key) > (step.endpoint, step.key)
             ORDER BY endpoint_id, ordering_key LIMIT 1
         ) next
    )
    SELECT endpoint, key FROM step
     WHERE NOT EXISTS (SELECT FROM deliveries_delivery before
                        WHERE before.endpoint_id = step.endpoint
                          AND before.ordering_key = step.key
                          AND before.state IN ('pending', 'sending', 'waiting'))
     LIMIT %(limit)s
"""

LEAVE = """
    WITH RECURSIVE step (endpoint) AS (
        (SELECT endpoint_id FROM deliveries_delivery
          WHERE ordering_key IS NOT NULL AND state IN ('queued', 'held')
          ORDER BY endpoint_id LIMIT 1)
        UNION ALL
        SELECT next.endpoint_id
          FROM step
         CROSS JOIN LATERAL (
            SELECT endpoint_id FROM deliveries_delivery
             WHERE ordering_key IS NOT NULL AND state IN ('queued', 'held')
               AND endpoint_id > step.endpoint
             ORDER BY endpoint_id LIMIT 1
         ) next
    ), leaving AS (
        SELECT queued.id,
               CASE endpoint.state WHEN 'active' THEN 'pending'
                                   WHEN 'deleted' THEN 'discarded'
                                   ELSE 'held' END AS becomes
          FROM step
          JOIN subscriptions_endpoint endpoint ON endpoint.id = step.endpoint
         CROSS JOIN LATERAL (
            SELECT id FROM deliveries_delivery
             WHERE endpoint_id = endpoint.id AND ordering_key IS NOT NULL AND state = 'queued'
             ORDER BY id LIMIT %(limit)s
               FOR NO KEY UPDATE SKIP LOCKED
         ) queued
         WHERE endpoint.state <> 'active' OR NOT endpoint.ordered
         LIMIT %(limit)s
    )
    UPDATE deliveries_delivery delivery
       SET state = leaving.becomes,
           ordering_key = CASE leaving.becomes WHEN 'held' THEN ordering_key END,
           rung_at = CASE leaving.becomes WHEN 'pending' THEN now() END,
           ended_at = CASE leaving.becomes WHEN 'discarded' THEN now() END
      FROM leaving WHERE delivery.id = leaving.id
 RETURNING delivery.id, delivery.state
"""


def advance(queues: Collection[Queue]) -> list[UUID]:
    """Let the head of each queue move up, if it may; returns those that did, to be rung for.

    To be called after the commit of what made it the head.
    """
    moved: list[UUID] = []
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
            moved += [row[0] for row in cursor.fetchall()]
    return moved


def standing(limit: int) -> list[Queue]:
    """Queues of which none is under way, at most so many."""
    with connection.cursor() as cursor:
        cursor.execute(STANDING, {"limit": limit})
        return [(endpoint, key) for endpoint, key in cursor.fetchall()]


def leave(limit: int) -> list[UUID]:
    """Take out of their queues what waits for an endpoint that rests, or wants no order any more.

    Returns those that are pending now, to be rung for.
    """
    with connection.cursor() as cursor:
        cursor.execute(LEAVE, {"limit": limit})
        return [delivery for delivery, state in cursor.fetchall() if state == "pending"]
