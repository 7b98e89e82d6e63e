"""How endpoints fare, as their deliveries tell."""

from collections.abc import Collection
from uuid import UUID

from django.db import connection

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
