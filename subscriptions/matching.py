"""Which endpoints get an event."""

from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from subscriptions.catalogue import catalogue
from subscriptions.event_types import patterns_matching
from subscriptions.ids import to_uuid

MATCHING = """
    SELECT DISTINCT endpoint.id, endpoint.state
      FROM subscriptions_subscription subscription
      JOIN subscriptions_endpoint endpoint ON endpoint.id = subscription.endpoint_id
     WHERE subscription.enabled
       AND subscription.pattern = ANY(%(patterns)s)
       AND endpoint.state <> 'deleted'
       AND (%(subscriber)s::uuid IS NULL OR endpoint.subscriber_id = %(subscriber)s)
       AND (%(after)s::uuid IS NULL OR endpoint.id > %(after)s)
       {seen}
     ORDER BY endpoint.id
     LIMIT %(limit)s
"""

SEEN_BY_ALL = MATCHING.format(seen="")

SEEN_BY_SOME = MATCHING.format(
    seen="""AND EXISTS (SELECT FROM subscriptions_subscriber subscriber
                    WHERE subscriber.id = endpoint.subscriber_id
                      AND %(feature_flag)s = ANY(subscriber.feature_flags))"""
)


@dataclass(frozen=True, slots=True)
class Match:
    """An endpoint that gets an event, and the state it was in when asked."""

    endpoint: UUID
    state: str


def endpoints_matching(
    event_type: str, *, subscriber: str | None, limit: int, after: UUID | None = None
) -> list[Match]:
    """At most `limit` endpoints, in order of their ids, from the one behind `after` on.

    Endpoints that are paused or disabled are among them: what they miss is held for them. Those of
    subscribers to whom the event type does not exist are not.
    """
    known = catalogue.get(event_type)
    feature_flag = "" if known is None else known.feature_flag
    with connection.cursor() as cursor:
        cursor.execute(
            SEEN_BY_SOME if feature_flag else SEEN_BY_ALL,
            {
                "patterns": patterns_matching(event_type),
                "subscriber": None if subscriber is None else to_uuid(subscriber),
                "after": after,
                "limit": limit,
                "feature_flag": feature_flag,
            },
        )
        return [Match(*row) for row in cursor.fetchall()]
