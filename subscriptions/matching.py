"""Which endpoints get an event, as far as its type and its channels tell."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from subscriptions.catalogue import catalogue
from subscriptions.event_types import patterns_matching
from subscriptions.ids import to_uuid

MATCHING = """
    SELECT endpoint.id, endpoint.takes_deliveries, endpoint.batch_events, endpoint.batch_seconds,
           endpoint.batch_bytes, endpoint.ordered,
           CASE WHEN every(subscription.filter <> '') THEN
                jsonb_object_agg(subscription.id, subscription.filter)
                FILTER (WHERE subscription.filter <> '')
           END
      FROM subscriptions_subscription subscription
      JOIN subscriptions_endpoint endpoint ON endpoint.id = subscription.endpoint_id
     WHERE subscription.enabled
       AND subscription.pattern = ANY(%(patterns)s)
       AND (subscription.channels = '{{}}' OR subscription.channels && %(channels)s::varchar[])
       AND endpoint.state <> 'deleted'
       AND (%(subscriber)s::uuid IS NULL OR endpoint.subscriber_id = %(subscriber)s)
       AND (%(after)s::uuid IS NULL OR endpoint.id > %(after)s)
       {seen}
     GROUP BY endpoint.id
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
    """An endpoint that gets an event, and how it was when asked."""

    endpoint: UUID
    takes_deliveries: bool
    """Whether what is for it can be sent now: it is active, and its circuit closed."""
    batch_events: int | None = None
    """How many events it gets in one request; None, where each goes alone."""
    batch_seconds: int = 0
    batch_bytes: int = 0
    ordered: bool = False
    filters: Mapping[str, str] | None = None
    """Where it gets the event only if a filter lets it pass: the filters, by subscription."""


def endpoints_matching(
    event_type: str,
    *,
    subscriber: str | None,
    channels: Sequence[str] | None = None,
    limit: int,
    after: UUID | None = None,
) -> list[Match]:
    """At most `limit` endpoints, in order of their ids, from the one behind `after` on.

    Endpoints that are paused or disabled are among them: what they miss is held for them. An event
    on no channel is not for subscriptions that ask for some; nor is one of a type that does not
    exist to a subscriber for its endpoints.
    """
    known = catalogue.get(event_type)
    feature_flag = "" if known is None else known.feature_flag
    with connection.cursor() as cursor:
        cursor.execute(
            SEEN_BY_SOME if feature_flag else SEEN_BY_ALL,
            {
                "patterns": patterns_matching(event_type),
                "channels": None if channels is None else list(channels),
                "subscriber": None if subscriber is None else to_uuid(subscriber),
                "after": after,
                "limit": limit,
                "feature_flag": feature_flag,
            },
        )
        return [
            Match(*row[:-1], row[-1] and json.loads(row[-1]))  # type: ignore[call-arg]
            for row in cursor.fetchall()
        ]
