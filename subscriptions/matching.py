"""Which endpoints get an event."""

from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from subscriptions.event_types import patterns_matching
from subscriptions.ids import to_uuid

MATCHING = """
    SELECT DISTINCT endpoint.id, endpoint.state, endpoint.batch_events, endpoint.batch_seconds,
           endpoint.ordered
      FROM subscriptions_subscription subscription
      JOIN subscriptions_endpoint endpoint ON endpoint.id = subscription.endpoint_id
     WHERE subscription.enabled
       AND subscription.pattern = ANY(%(patterns)s)
       AND endpoint.state <> 'deleted'
       AND (%(subscriber)s::uuid IS NULL OR endpoint.subscriber_id = %(subscriber)s)
       AND (%(after)s::uuid IS NULL OR endpoint.id > %(after)s)
     ORDER BY endpoint.id
     LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Match:
    """An endpoint that gets an event, and how it was when asked."""

    endpoint: UUID
    state: str
    batch_events: int | None = None
    """How many events it gets in one request; None, where each goes alone."""
    batch_seconds: int = 0
    ordered: bool = False


def endpoints_matching(
    event_type: str, *, subscriber: str | None, limit: int, after: UUID | None = None
) -> list[Match]:
    """At most `limit` endpoints, in order of their ids, from the one behind `after` on.

    Endpoints that are paused or disabled are among them: what they miss is held for them.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            MATCHING,
            {
                "patterns": patterns_matching(event_type),
                "subscriber": None if subscriber is None else to_uuid(subscriber),
                "after": after,
                "limit": limit,
            },
        )
        return [Match(*row) for row in cursor.fetchall()]
