"""What is past its time goes: a chunk in each transaction, by the oldest ids, in a bounded share.

Ids sort by time, so that what is old is the front of an index; nothing else is read. Rows that
another transaction holds are left for the next run.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from deliveries import replays, sampling
from deliveries.chunks import in_chunks, rows
from deliveries.conf import DeliverySettings
from deliveries.dropping import drop_deliveries
from deliveries.models import DeadLetterJob, Delivery, Erasure, QueueSample
from subscriptions.conf import part
from subscriptions.dropping import drop_some
from subscriptions.ids import lowest_uuid_at
from subscriptions.models import Endpoint

FIRST = UUID(int=0)

# Attempts are numbered as they are recorded: the first are the oldest, give or take a second. How
# many are looked at is bounded before their age is, or a table without old ones would be read.
OLD_ATTEMPTS = """
    DELETE FROM deliveries_attempt
     WHERE id IN (SELECT id
                    FROM (SELECT id, ended_at FROM deliveries_attempt
                           ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED) oldest
                   WHERE ended_at < %(before)s)
"""

# LATERAL, as that keeps PostgreSQL from reading all deliveries into a hash.
OLD_EVENTS = """
    SELECT event.id, fanned_out_at IS NOT NULL AND open.id IS NULL
      FROM deliveries_event event
      LEFT JOIN LATERAL (SELECT id FROM deliveries_delivery
                          WHERE event_id = event.id AND ended_at IS NULL LIMIT 1) open ON true
     WHERE event.id > %(after)s AND event.id < %(oldest_kept)s
     ORDER BY event.id LIMIT %(limit)s
"""

LOCK_EVENTS = """
    SELECT id FROM deliveries_event
     WHERE id = ANY(%(events)s) ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""

ENDED_DELIVERIES = """
    SELECT id FROM deliveries_delivery
     WHERE event_id = ANY(%(events)s) AND ended_at IS NOT NULL
     LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""

DROP_EVENTS = """
    DELETE FROM deliveries_event event
     WHERE id = ANY(%(events)s)
       AND NOT EXISTS (SELECT FROM deliveries_delivery WHERE event_id = event.id)
"""

DELIVERIES_AN_EVENT = 4
"""So many times as many deliveries as events are dropped in one transaction at most."""


class Walk:
    """Goes through the old events, past those that have not ended, and begins again at the end."""

    def __init__(self) -> None:
        self.after = FIRST

    def drop_next(self, oldest_kept: UUID, limit: int) -> tuple[int, bool]:
        """Drop those of the next `limit` old events that have ended.

        Returns how many, and whether more may follow in this run. An event with more deliveries
        than fit into one transaction loses some of them and is come to again.
        """
        found = rows(OLD_EVENTS, limit, after=self.after, oldest_kept=oldest_kept)
        ended = [event for event, is_over in found if is_over]
        most = limit * DELIVERIES_AN_EVENT
        with transaction.atomic(), connection.cursor() as cursor:
            events = [event for (event,) in rows(LOCK_EVENTS, limit, events=ended)]
            deliveries = rows(ENDED_DELIVERIES, most, events=events)
            drop_deliveries([delivery for (delivery,) in deliveries])
            cursor.execute(DROP_EVENTS, {"events": events})
            dropped = cursor.rowcount
        if len(deliveries) == most:
            return dropped, True
        at_the_end = len(found) < limit
        self.after = FIRST if at_the_end else found[-1][0]
        return dropped, not at_the_end


_walk = Walk()
"""Where this process has come to."""


def old_events() -> int:
    """Drop events older than EVENT_RETENTION, with all that hangs on them, once all has ended."""
    settings = part(DeliverySettings)
    oldest_kept = lowest_uuid_at(_ago(settings.event_retention))
    total = 0
    for _ in range(settings.sweep_chunks):
        dropped, more = _walk.drop_next(oldest_kept, settings.sweep_chunk)
        total += dropped
        if not more:
            break
    return total


def old_attempts() -> int:
    """Drop attempts older than ATTEMPT_RETENTION; their deliveries stay."""
    before = _ago(part(DeliverySettings).attempt_retention)

    def chunk(limit: int) -> int:
        with connection.cursor() as cursor:
            cursor.execute(OLD_ATTEMPTS, {"before": before, "limit": limit})
            return int(cursor.rowcount)

    return in_chunks(chunk)


def deleted_endpoints() -> int:
    """Forget the endpoints that were deleted and of whose deliveries none is on record any more."""
    deliveries = Delivery.objects.filter(endpoint=OuterRef("pk"))
    unused = Endpoint.objects.filter(~Exists(deliveries), state=Endpoint.State.DELETED)

    def chunk(limit: int) -> int:
        chosen = list(unused.order_by("pk").values_list("pk", flat=True)[:limit])
        Endpoint.objects.filter(pk__in=chosen).delete()
        return len(chosen)

    return in_chunks(chunk)


def old_replays() -> int:
    """Drop the replays of whose events, by their age, nothing is left. The history stays."""
    before = _ago(part(DeliverySettings).event_retention)
    return in_chunks(lambda limit: replays.drop_ended_before(before, limit))


def ended_jobs() -> int:
    """Drop the jobs on dead letters, and the erasures, that ended before HISTORY_RETENTION."""
    before = _ago(part(DeliverySettings).history_retention)

    def old(jobs: QuerySet[Any]) -> int:
        ended = jobs.filter(ended_at__lt=before).order_by("pk")
        return in_chunks(lambda limit: drop_some(ended, limit))

    return old(DeadLetterJob.objects.all()) + old(Erasure.objects.all())


def old_admin_log() -> int:
    """Drop what Django's admin has logged of subscribers and theirs as the history is dropped.

    Of users and schedules there is no other history: that stays. People write this log, so it is
    short enough to be read.
    """
    if not apps.is_installed("django.contrib.admin"):
        return 0
    types = apps.get_model("contenttypes", "ContentType").objects.filter(
        app_label__in=["subscriptions", "deliveries"]
    )
    before = _ago(part(DeliverySettings).history_retention)
    old = apps.get_model("admin", "LogEntry").objects.filter(
        action_time__lt=before, content_type__in=types
    )
    return in_chunks(lambda limit: drop_some(old.order_by("pk"), limit))


def old_queue_samples() -> int:
    """Drop what no dashboard looks back to any more."""
    dropped, _ = QueueSample.objects.filter(minute__lt=timezone.now() - sampling.KEPT).delete()
    return dropped


def _ago(seconds: float) -> datetime:
    return timezone.now() - timedelta(seconds=seconds)
