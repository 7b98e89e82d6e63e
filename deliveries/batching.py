"""Batches: several deliveries to one endpoint in one request.

Deliveries to an endpoint that wants batches are `gathering` at first. Forming a batch makes one of
them its lead, which is `pending` and lives as any delivery does; the others are `batched`, and
share its fate. So a batch has one lease, one schedule and one row for each attempt: its lead's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from uuid_utils.compat import uuid7

from deliveries import telling
from deliveries.conf import DeliverySettings
from subscriptions.conf import part

EVENT_OVERHEAD = 200
"""Bytes of a batch for each event, beside its data."""

GATHERED = """
    SELECT delivery.id, octet_length(event.payload),
           -- A second's grace, or half the wait: a countdown's clock is the worker's.
           delivery.created_at <= now() - make_interval(
               secs => endpoint.batch_seconds - least(1, endpoint.batch_seconds / 2.0))
      FROM deliveries_delivery delivery
      JOIN deliveries_event event ON event.id = delivery.event_id
      JOIN subscriptions_endpoint endpoint ON endpoint.id = delivery.endpoint_id
     WHERE delivery.endpoint_id = %(endpoint)s AND delivery.state = 'gathering'
     ORDER BY delivery.id LIMIT %(limit)s
       FOR NO KEY UPDATE OF delivery SKIP LOCKED
"""

ASSIGN = """
    UPDATE deliveries_delivery delivery
       SET state = CASE WHEN new.lead IS NULL THEN 'pending' ELSE 'batched' END,
           lead_id = new.lead,
           batch_size = new.size,
           rung_at = CASE WHEN new.lead IS NULL THEN now() END
      FROM unnest(%(ids)s::uuid[], %(leads)s::uuid[], %(sizes)s::int[]) AS new (id, lead, size)
     WHERE delivery.id = new.id
"""

# Its endpoint does not want batches any more, or nothing at all.
SEND_ON = """
    UPDATE deliveries_delivery delivery
       SET state = CASE WHEN endpoint.takes_deliveries THEN 'pending'
                        WHEN endpoint.state = 'deleted' THEN 'discarded'
                        ELSE 'held' END,
           rung_at = CASE WHEN endpoint.takes_deliveries THEN now() END,
           ended_at = CASE endpoint.state WHEN 'deleted' THEN now() END
      FROM (SELECT id FROM deliveries_delivery
             WHERE endpoint_id = %(endpoint)s AND state = 'gathering'
             ORDER BY id LIMIT %(limit)s
               FOR NO KEY UPDATE SKIP LOCKED) gathered, subscriptions_endpoint endpoint
     WHERE delivery.id = gathered.id AND endpoint.id = delivery.endpoint_id
 RETURNING delivery.id, delivery.state
"""

FOLLOW = """
    UPDATE deliveries_delivery delivery
       SET state = CASE lead.state WHEN 'discarded' THEN 'gathering' ELSE lead.state END,
           lead_id = CASE lead.state WHEN 'discarded' THEN NULL ELSE lead.id END,
           ended_at = CASE lead.state WHEN 'discarded' THEN NULL ELSE lead.ended_at END
      FROM (SELECT member.id
              FROM deliveries_delivery member
              JOIN deliveries_delivery its_lead ON its_lead.id = member.lead_id
             WHERE member.state = 'batched' AND its_lead.ended_at IS NOT NULL
               AND (%(leads)s::uuid[] IS NULL OR member.lead_id = ANY(%(leads)s))
             ORDER BY member.id LIMIT %(limit)s
               FOR NO KEY UPDATE OF member SKIP LOCKED) member, deliveries_delivery lead
     WHERE delivery.id = member.id AND lead.id = delivery.lead_id
 RETURNING delivery.id, delivery.state
"""

BURY = """
    INSERT INTO deliveries_deadletter (id, delivery_id, reason, last_error, died_at, resolution)
    SELECT new.id, delivery.id, letter.reason, letter.last_error, letter.died_at, ''
      FROM unnest(%(ids)s::uuid[], %(deliveries)s::uuid[]) AS new (id, delivery)
      JOIN deliveries_delivery delivery ON delivery.id = new.delivery
      JOIN LATERAL (SELECT * FROM deliveries_deadletter
                     WHERE delivery_id = delivery.lead_id
                     ORDER BY id DESC LIMIT 1) letter ON true
"""

MEMBERS = """
    SELECT lead_id, id FROM deliveries_delivery
     WHERE lead_id = ANY(%(leads)s) AND state = 'batched'
     ORDER BY id
       FOR NO KEY UPDATE
"""

SHRINK = """
    UPDATE deliveries_delivery delivery
       SET batch_size = new.size, round_start = attempt_number
      FROM unnest(%(ids)s::uuid[], %(sizes)s::int[]) AS new (id, size)
     WHERE delivery.id = new.id
"""


@dataclass(frozen=True, slots=True)
class Gathered:
    """A delivery that waits for its batch."""

    id: UUID
    bytes: int
    """Of its event's data."""
    late: bool
    """Whether it has waited for as long as it may."""


def pack(
    gathered: Sequence[Gathered], *, max_events: int, max_bytes: int
) -> tuple[list[list[UUID]], bool]:
    """Put deliveries, the oldest first, into batches that keep to both limits, in their order.

    Returns the batches, and whether the last of them may grow. One that is too large for any batch
    goes alone.
    """
    batches: list[list[UUID]] = []
    room = 0
    for one in gathered:
        size = one.bytes + EVENT_OVERHEAD
        if not batches or len(batches[-1]) == max_events or size > room:
            batches.append([])
            room = max_bytes
        batches[-1].append(one.id)
        room -= size
    grows = bool(batches) and len(batches[-1]) < max_events and room > EVENT_OVERHEAD
    return batches, grows


def halves(batch: Sequence[UUID]) -> tuple[Sequence[UUID], Sequence[UUID]]:
    """A batch of two or more, as two; the first has one more where it is odd."""
    middle = (len(batch) + 1) // 2
    return batch[:middle], batch[middle:]


def form(endpoint: UUID) -> list[UUID]:
    """Form an endpoint's batches: those that are full, and those whose first has waited enough.

    Returns the deliveries to ring for: the leads, and those that go alone.
    """
    limit = part(DeliverySettings).sweep_chunk
    leads: list[UUID] = []
    while (chunk := _form_chunk(endpoint, limit)) is not None:
        leads += chunk
    return leads


def _form_chunk(endpoint: UUID, limit: int) -> list[UUID] | None:
    """Form batches of up to `limit` events or one batch; None where nothing is left to do."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT takes_deliveries, batch_events, batch_bytes"
            "  FROM subscriptions_endpoint WHERE id = %s",
            [endpoint],
        )
        takes_deliveries, max_events, max_bytes = cursor.fetchone() or (False, None, 0)
        if not takes_deliveries or max_events is None:
            cursor.execute(SEND_ON, {"endpoint": endpoint, "limit": limit})
            sent_on = cursor.fetchall()
            return [one for one, to in sent_on if to == "pending"] if sent_on else None
        limit = max(limit, max_events)
        cursor.execute(GATHERED, {"endpoint": endpoint, "limit": limit})
        gathered = [Gathered(*row) for row in cursor.fetchall()]
        batches, grows = pack(gathered, max_events=max_events, max_bytes=max_bytes)
        if grows and (len(gathered) == limit or not _is_late(batches[-1], gathered)):
            batches.pop()
        _assign(cursor, batches)
    return [batch[0] for batch in batches] or None


def _is_late(batch: Sequence[UUID], gathered: Sequence[Gathered]) -> bool:
    return next(one.late for one in gathered if one.id == batch[0])


def _assign(cursor: Any, batches: Iterable[Sequence[UUID]]) -> None:
    """Make the first of each batch its lead."""
    rows = [
        (one, batch[0] if place else None, None if place or len(batch) == 1 else len(batch))
        for batch in batches
        for place, one in enumerate(batch)
    ]
    if rows:
        ids, leads, sizes = (list(column) for column in zip(*rows, strict=True))
        cursor.execute(ASSIGN, {"ids": ids, "leads": leads, "sizes": sizes})


def follow(leads: Sequence[UUID] | None, limit: int | None = None) -> int:
    """Let deliveries share the fate of their leads (of any, where None), where that has ended.

    Those whose lead was discarded gather anew. Returns how many had to follow.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(FOLLOW, {"leads": None if leads is None else list(leads), "limit": limit})
        followed = cursor.fetchall()
        dead = [delivery for delivery, state in followed if state == "dead"]
        if dead:
            cursor.execute(BURY, {"ids": [uuid7() for _ in dead], "deliveries": dead})
        telling.ended(state for _, state in followed)
    return len(followed)


def halve(leads: Sequence[UUID]) -> list[UUID]:
    """Make two batches of each; returns the leads of those that are new, to be rung for.

    The attempts that a lead has had count no longer for its schedule: it was the batch's size that
    was refused.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(MEMBERS, {"leads": list(leads)})
        batches = {lead: [lead] for lead in leads}
        for lead, member in cursor.fetchall():
            batches[lead].append(member)
        kept, new = zip(*(halves(batch) for batch in batches.values()), strict=True)
        sizes = [None if len(batch) == 1 else len(batch) for batch in kept]
        cursor.execute(SHRINK, {"ids": [batch[0] for batch in kept], "sizes": sizes})
        _assign(cursor, [batch for batch in new if batch])
    return [batch[0] for batch in new if batch]
