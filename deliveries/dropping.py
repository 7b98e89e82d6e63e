"""Delete deliveries for good, with all that hangs on them."""

from collections.abc import Collection
from uuid import UUID

from django.db import connection

# Who is in the batch of one of them may stay; it has no lead any more.
LEAVE_LEADS = """
    UPDATE deliveries_delivery
       SET lead_id = NULL,
           state = CASE state WHEN 'batched' THEN 'discarded' ELSE state END,
           ended_at = CASE state WHEN 'batched' THEN now() ELSE ended_at END
     WHERE lead_id = ANY(%(ids)s) AND NOT id = ANY(%(ids)s)
"""

DROP = (
    LEAVE_LEADS,
    "DELETE FROM deliveries_attempt WHERE delivery_id = ANY(%(ids)s)",
    "DELETE FROM deliveries_statechange WHERE delivery_id = ANY(%(ids)s)",
    "DELETE FROM deliveries_deadletter WHERE delivery_id = ANY(%(ids)s)",
    "DELETE FROM deliveries_delivery WHERE id = ANY(%(ids)s)",
)


def drop_deliveries(deliveries: Collection[UUID]) -> int:
    """Delete deliveries that the caller has locked, in the caller's transaction; how many."""
    dropped = 0
    with connection.cursor() as cursor:
        for statement in DROP:
            cursor.execute(statement, {"ids": list(deliveries)})
            dropped = cursor.rowcount
    return dropped
