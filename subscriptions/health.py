"""How endpoints fare, as their deliveries tell."""

import logging
from collections.abc import Collection, Iterable
from functools import partial
from uuid import UUID

from django.db import connection, transaction

from subscriptions.conf import SubscriptionSettings, part
from subscriptions.ids import from_uuid

logger = logging.getLogger(__name__)

# A busy endpoint's row is written at most this often, and never waited for: the next result tells
# the same story.
FRESHNESS = "10 seconds"

SUCCEEDED = f"""
    UPDATE subscriptions_endpoint
       SET last_success_at = now(), failing_since = NULL, failure_warning = 0
     WHERE id IN (
        SELECT id FROM subscriptions_endpoint
         WHERE id = ANY(%s)
           AND (failing_since IS NOT NULL
                OR last_success_at IS NULL
                OR last_success_at < now() - interval '{FRESHNESS}')
         ORDER BY id
           FOR NO KEY UPDATE SKIP LOCKED)
"""
FAILED = f"""
    UPDATE subscriptions_endpoint
       SET last_failure_at = now(), failing_since = coalesce(failing_since, now())
     WHERE id IN (
        SELECT id FROM subscriptions_endpoint
         WHERE id = ANY(%s)
           AND (failing_since IS NULL OR last_failure_at < now() - interval '{FRESHNESS}')
         ORDER BY id
           FOR NO KEY UPDATE SKIP LOCKED)
"""
GONE = """
    UPDATE subscriptions_endpoint
       SET state = 'disabled', disabled_reason = 'It answered 410 Gone.'
     WHERE id IN (
        SELECT id FROM subscriptions_endpoint
         WHERE id = ANY(%s) AND state = 'active'
         ORDER BY id
           FOR NO KEY UPDATE)
 RETURNING id
"""

# By its attempts, not by the clock: who has not been tried lately is not known to fail still.
WARN = """
    WITH failing AS (
        SELECT id,
               100 * extract(epoch FROM last_failure_at - failing_since) / %(disable_after)s
               AS per_cent
          FROM subscriptions_endpoint
         WHERE state = 'active'
           AND failing_since <= now() - make_interval(secs => %(disable_after)s * 0.5)
    ), free AS (
        SELECT endpoint.id, failing.per_cent
          FROM failing JOIN subscriptions_endpoint endpoint USING (id)
         WHERE failing.per_cent >= 100
            OR endpoint.failure_warning < CASE WHEN failing.per_cent >= 90 THEN 90
                                               WHEN failing.per_cent >= 70 THEN 70
                                               WHEN failing.per_cent >= 50 THEN 50 ELSE 0 END
         ORDER BY endpoint.id LIMIT %(limit)s
           FOR NO KEY UPDATE OF endpoint SKIP LOCKED
    )
    UPDATE subscriptions_endpoint endpoint
       SET failure_warning = CASE WHEN free.per_cent >= 90 THEN 90
                                  WHEN free.per_cent >= 70 THEN 70 ELSE 50 END,
           state = CASE WHEN free.per_cent >= 100 THEN 'disabled' ELSE state END,
           disabled_reason = CASE WHEN free.per_cent >= 100 THEN
               'Every attempt failed from '
               || to_char(failing_since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || ' to '
               || to_char(last_failure_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC.'
               ELSE disabled_reason END
      FROM free WHERE endpoint.id = free.id
 RETURNING endpoint.id, endpoint.state, endpoint.failure_warning, endpoint.failing_since
"""


def note_health(
    succeeded: Collection[UUID], failed: Collection[UUID], gone: Collection[UUID]
) -> None:
    """Note which endpoints took a delivery, failed one, or answered 410 Gone and are disabled.

    One that both failed and succeeded counts as healthy.
    """
    with connection.cursor() as cursor:
        for statement, endpoints in ((FAILED, failed), (SUCCEEDED, succeeded), (GONE, gone)):
            if endpoints:
                cursor.execute(statement, [list(endpoints)])
        disabled = [from_uuid("ep", endpoint) for (endpoint,) in cursor.fetchall()] if gone else []
    if disabled:
        transaction.on_commit(partial(_tell_of_gone, disabled), robust=True)


def _tell_of_gone(endpoints: Iterable[str]) -> None:
    for endpoint in endpoints:
        extra = {"endpoint_id": endpoint}
        logger.warning("%s is disabled: it answered 410 Gone", endpoint, extra=extra)


def warn(limit: int) -> int:
    """Warn of endpoints that have done nothing but fail, and disable them after DISABLE_AFTER.

    They are warned of at 50, 70 and 90 per cent of the way, in their rows and in the log. Returns
    of how many.
    """
    disable_after = part(SubscriptionSettings).disable_after
    if not disable_after:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(WARN, {"disable_after": disable_after, "limit": limit})
        warned = cursor.fetchall()
    for endpoint, state, per_cent, since in warned:
        name = from_uuid("ep", endpoint)
        ids = {"endpoint_id": name}
        if state == "disabled":
            logger.warning("%s is disabled: it has failed since %s", name, since, extra=ids)
        else:
            sentence = "%s has failed since %s: %d %% of DISABLE_AFTER"
            logger.warning(sentence, name, since, per_cent, extra=ids)
    return len(warned)
