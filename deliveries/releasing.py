"""What was held for an endpoint, or is due all at once, goes out to it little by little.

An endpoint that comes back may have any number waiting for it. The oldest goes first; each gets a
turn, at RELEASE_RATE or the endpoint's own rate where that is lower, and a message that comes then.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection

from deliveries import bell, turns
from deliveries.conf import DeliverySettings
from deliveries.pace import Pace, pace_of
from deliveries.turns import Ask, Waiter
from subscriptions.conf import part

AHEAD = 15.0
"""Seconds for which turns are given out in one go: more than from one sweep to the next."""

# From one endpoint that has some to the next, through the index: how much is held is not read. Each
# is asked for an equal share, and all of them have one in turn where there are too many.
RELEASABLE = """
    WITH RECURSIVE step (endpoint) AS (
        (SELECT endpoint_id FROM deliveries_delivery
          WHERE state = 'held' ORDER BY endpoint_id LIMIT 1)
        UNION ALL
        SELECT (SELECT endpoint_id FROM deliveries_delivery
                 WHERE state = 'held' AND endpoint_id > step.endpoint
                 ORDER BY endpoint_id LIMIT 1)
          FROM step WHERE step.endpoint IS NOT NULL
    ), free AS (
        SELECT endpoint.id, endpoint.rate, endpoint.burst, endpoint.batch_events,
               count(*) OVER () AS how_many
          FROM step
          JOIN subscriptions_endpoint endpoint ON endpoint.id = step.endpoint
         WHERE endpoint.takes_deliveries
    )
    SELECT free.id, free.rate, free.burst, coalesce(free.batch_events, 1), backlog.held
      FROM free
     CROSS JOIN LATERAL (
        SELECT count(*) AS held
          FROM (SELECT FROM deliveries_delivery
                 WHERE endpoint_id = free.id AND state = 'held'
                 LIMIT greatest(1, %(limit)s / free.how_many)) share
     ) backlog
     ORDER BY random() LIMIT %(limit)s
"""

RELEASE = """
    WITH turn AS (
        SELECT * FROM unnest(%(endpoints)s::uuid[], %(counts)s::int[], %(firsts)s::float8[],
                             %(intervals)s::float8[]) AS turn (endpoint, count, first, pace)
    ), free AS (
        SELECT held.id,
               greatest(0, turn.first + turn.pace
                           * (row_number() OVER (PARTITION BY turn.endpoint ORDER BY held.id) - 1)
               ) AS wait,
               held.gathers
          FROM turn
         CROSS JOIN LATERAL (
            SELECT delivery.id,
                   endpoint.batch_events IS NOT NULL AND delivery.batch_size IS NULL AS gathers
              FROM deliveries_delivery delivery
              JOIN subscriptions_endpoint endpoint ON endpoint.id = delivery.endpoint_id
             WHERE delivery.endpoint_id = turn.endpoint AND delivery.state = 'held'
             ORDER BY delivery.id LIMIT turn.count
               FOR NO KEY UPDATE OF delivery SKIP LOCKED
         ) held
    )
    UPDATE deliveries_delivery delivery
       SET state = CASE WHEN free.gathers THEN 'gathering'
                        WHEN free.wait > 0 THEN 'waiting'
                        ELSE 'pending' END,
           next_attempt_at = CASE WHEN NOT free.gathers AND free.wait > 0
                                  THEN now() + make_interval(secs => free.wait) END,
           rung_at = CASE WHEN NOT free.gathers THEN now() + make_interval(secs => free.wait) END,
           ordering_key = CASE WHEN NOT free.gathers THEN ordering_key END
      FROM free WHERE delivery.id = free.id
 RETURNING delivery.id, delivery.state, free.wait
"""


def release(limit: int) -> int:
    """Release up to `limit` deliveries that are held for endpoints that take deliveries again.

    Each endpoint has an equal share, so that none waits for another's backlog. Returns how many.
    """
    with connection.cursor() as cursor:
        cursor.execute(RELEASABLE, {"limit": limit})
        waiting = cursor.fetchall()
    if not waiting:
        return 0
    paces = [_bound(rate, burst) for _, rate, burst, *_ in waiting]
    asks = [
        # A batch takes one turn.
        Ask(endpoint, pace, -(-held // batch), waited=True)
        for (endpoint, _, _, batch, held), pace in zip(waiting, paces, strict=True)
        if pace is not None
    ]
    given = turns.take(turns.RELEASING, asks, patience=AHEAD)
    if given is None:
        return 0  # without a clock they would all go at once
    by_endpoint = {ask.endpoint: one for ask, one in zip(asks, given, strict=True)}
    columns: dict[str, list[Any]] = {"endpoints": [], "counts": [], "firsts": [], "intervals": []}
    for (endpoint, _, _, batch, held), pace in zip(waiting, paces, strict=True):
        one = by_endpoint.get(endpoint)
        columns["endpoints"].append(endpoint)
        columns["counts"].append(held if one is None else min(held, len(one.go) * batch))
        columns["firsts"].append(0.0 if one is None else one.first)
        columns["intervals"].append(0.0 if pace is None else pace.interval)
    with connection.cursor() as cursor:
        cursor.execute(RELEASE, columns)
        released = cursor.fetchall()
    bell.ring_later({delivery: wait for delivery, state, wait in released if state != "gathering"})
    return len(released)


def spread(due: Sequence[tuple[UUID, UUID, str, int | None]]) -> dict[UUID, float]:
    """After how many seconds each of `due` may come, so that no endpoint gets too many at once.

    Each has the delivery, the endpoint, and that one's rate and burst; the oldest comes first.
    """
    waiters = [
        Waiter(delivery, endpoint, _bound(rate, burst), waited=True)
        for delivery, endpoint, rate, burst in due
    ]
    patience = part(DeliverySettings).retry_countdown_max
    return turns.waits(turns.RELEASING, waiters, patience=patience)


def _bound(rate: str, burst: int | None) -> Pace | None:
    """How fast an endpoint's backlog may go, if there is a bound."""
    paces = [pace_of(rate, burst), pace_of(part(DeliverySettings).release_rate)]
    known = [pace for pace in paces if pace is not None]
    return max(known, key=lambda pace: pace.interval, default=None)
