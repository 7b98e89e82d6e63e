"""Feeds: what a subscriber fetches that has no endpoint to be sent it.

The deliveries to a feed are held. When they are first fetched they become delivered, and each gets
the feed's next position, under the feed's lock. So none is ever given out behind one that was
fetched before: whichever transaction commits late, with whatever ids, its events follow.
"""

import base64
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from deliveries import telling
from deliveries.conf import DeliverySettings
from subscriptions.conf import part
from subscriptions.ids import from_uuid, to_uuid
from subscriptions.models import Feed
from webhooks.formats import Message, item

MAX_PAGE_BYTES = 4 * 1024 * 1024
"""A page ends once its events have so many bytes of data."""

NUMBER = """
    WITH unread AS (
        SELECT id FROM deliveries_delivery
         WHERE endpoint_id = %(endpoint)s AND state = 'held'
         ORDER BY id LIMIT %(limit)s
           FOR NO KEY UPDATE SKIP LOCKED
    ), numbered AS (
        SELECT id, %(last)s + row_number() OVER (ORDER BY id) AS position FROM unread
    )
    UPDATE deliveries_delivery delivery
       SET state = 'delivered', ended_at = now(), feed_position = numbered.position
      FROM numbered WHERE delivery.id = numbered.id
"""

FIRST = """
    SELECT min(feed_position) FROM deliveries_delivery
     WHERE endpoint_id = %(endpoint)s AND feed_position IS NOT NULL
"""

READ = """
    SELECT position, id, type, occurred_at, payload
      FROM (SELECT *, sum(octet_length(payload)) OVER (ORDER BY position) AS bytes
              FROM (SELECT delivery.feed_position AS position,
                           event.id, event.type, event.occurred_at, event.payload
                      FROM deliveries_delivery delivery
                      JOIN deliveries_event event ON event.id = delivery.event_id
                     WHERE delivery.endpoint_id = %(endpoint)s
                       AND delivery.feed_position > %(after)s
                     ORDER BY delivery.feed_position LIMIT %(limit)s) found) sized
     WHERE bytes - octet_length(payload) < %(max_bytes)s
     ORDER BY position
"""


class InvalidCursor(ValueError):
    """Not a cursor of this feed."""


class EventsDropped(Exception):
    """What follows the cursor is past its retention; `cursor` is for what is there after that."""

    def __init__(self, cursor: str) -> None:
        super().__init__(cursor)
        self.cursor = cursor


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a feed's events, in order."""

    items: list[str]
    """Each is JSON text: {id, type, timestamp, data}."""
    cursor: str
    """Leads to what follows; the same again, if nothing does yet."""
    has_more: bool


def read(feed: str, *, cursor: str | None, limit: int) -> Page:
    """At most `limit` events behind the cursor; from the oldest there is on, if there is none.

    `feed` is the id of its endpoint. Raises InvalidCursor, EventsDropped, or Feed.DoesNotExist
    where it is deleted meanwhile.
    """
    endpoint = to_uuid(feed)
    with transaction.atomic(), connection.cursor() as database:
        last = Feed.objects.select_for_update(no_key=True).get(pk=feed).last_position
        after = None if cursor is None else _position(endpoint, cursor, last)
        if after is None:
            database.execute(FIRST, {"endpoint": endpoint})
            [(first,)] = database.fetchall()
            after = last if first is None else first - 1
        # One more than is asked for tells whether there is more.
        if (wanted := after + limit + 1 - last) > 0:
            database.execute(NUMBER, {"endpoint": endpoint, "last": last, "limit": wanted})
            telling.ended(["delivered"] * database.rowcount)
            last += database.rowcount
            Feed.objects.filter(pk=feed).update(last_position=last)
        database.execute(
            READ,
            {
                "endpoint": endpoint,
                "after": after,
                "limit": limit,
                "max_bytes": MAX_PAGE_BYTES,
            },
        )
        found = database.fetchall()
    items = [_item(*row) for place, *row in _unbroken(found, after)]
    if not items and after < last:
        raise EventsDropped(_cursor(endpoint, found[0][0] - 1 if found else last))
    reached = after + len(items)
    return Page(items, _cursor(endpoint, reached), has_more=reached < last)


def _unbroken(found: list[tuple[Any, ...]], after: int) -> list[tuple[Any, ...]]:
    """The rows up to the first place that is missing: what stood there was dropped."""
    return [row for place, row in enumerate(found, after + 1) if row[0] == place]


def _item(event: UUID, event_type: str, occurred_at: Any, payload: str) -> str:
    source = part(DeliverySettings).event_source
    return item(Message(from_uuid("evt", event), event_type, source, occurred_at, payload))


def _cursor(endpoint: UUID, position: int) -> str:
    return base64.urlsafe_b64encode(endpoint.bytes + position.to_bytes(8)).decode()


def _position(endpoint: UUID, cursor: str, last: int) -> int:
    """The position in a cursor. It is no secret, so that it need not be signed."""
    try:
        content = base64.b64decode(cursor, altchars=b"-_", validate=True)
    except ValueError:
        content = b""
    position = int.from_bytes(content[16:])
    if len(content) != 24 or content[:16] != endpoint.bytes or position > last:
        raise InvalidCursor("This is no cursor of this feed: leave it out to begin anew.")
    return position
