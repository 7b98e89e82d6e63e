"""Erase a subscriber wholly: all that is its own, and its part of what is for everybody.

What it could be reached by or get in with goes at once, in the transaction that begins it, so that
nothing is made for it any more. Its deliveries and events, of which there may be millions, go chunk
by chunk; the sweep carries on from wherever a process left it, as the rows that are left say what
is still to be done. Of the history one entry stays: that it was erased, when, and by whom.
"""

from dataclasses import asdict, dataclass
from uuid import UUID

from django.apps import apps
from django.db import connection, transaction
from django.db.models import F, Func, TextField, Value
from django.utils import timezone

from deliveries import dead_letters
from deliveries.chunks import rows
from deliveries.conf import DeliverySettings
from deliveries.dropping import drop_deliveries
from deliveries.models import Delivery, Erasure, Event, OperationalNotice
from subscriptions.conf import part
from subscriptions.history import HistoryEntry
from subscriptions.ids import from_uuid, to_uuid
from subscriptions.models import ApiKey, Endpoint, Subscriber, Subscription

# Endpoint by endpoint through its index: of others' deliveries none is read.
DELIVERIES = """
    SELECT delivery.id
      FROM subscriptions_endpoint endpoint
     CROSS JOIN LATERAL (
        SELECT id FROM deliveries_delivery
         WHERE endpoint_id = endpoint.id ORDER BY id DESC LIMIT %(limit)s
           FOR UPDATE SKIP LOCKED
     ) delivery
     WHERE endpoint.subscriber_id = %(subscriber)s
     LIMIT %(limit)s
"""

EVENTS = """
    DELETE FROM deliveries_event
     WHERE id IN (SELECT id FROM deliveries_event event
                   WHERE subscriber_id = %(subscriber)s
                     AND NOT EXISTS (SELECT FROM deliveries_delivery WHERE event_id = event.id)
                   ORDER BY id DESC LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""

# What operators were told of it by operational webhooks has its URLs; an id is in no other text.
TOLD_TO_OPERATORS = """
    SELECT event.id
      FROM deliveries_event event
      JOIN subscriptions_subscriber operator ON operator.id = event.subscriber_id
     WHERE operator.operator AND event.payload LIKE %(named)s
     LIMIT %(limit)s FOR UPDATE OF event SKIP LOCKED
"""

OF_ITS_ENDPOINTS = (
    *("subscriptions_signingsecret", "subscriptions_subscription", "subscriptions_handshake"),
    *("subscriptions_feed", "deliveries_replay"),
)

DISARM = (
    "DELETE FROM subscriptions_apikey WHERE subscriber_id = %(subscriber)s",
    *(
        f"""DELETE FROM {table} USING subscriptions_endpoint endpoint
             WHERE endpoint_id = endpoint.id AND endpoint.subscriber_id = %(subscriber)s"""
        for table in OF_ITS_ENDPOINTS
    ),
    """UPDATE subscriptions_endpoint
          SET state = 'deleted', credentials = NULL, credentials_shown = NULL
        WHERE subscriber_id = %(subscriber)s AND state <> 'deleted'""",
)


class BeingErased(ValueError):
    """It is being erased already."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much there is of a subscriber."""

    endpoints: int
    subscriptions: int
    api_keys: int
    events: int
    deliveries: int

    def lines(self) -> list[str]:
        """It in words, as in "deliveries: 1,200"."""
        return [f"{what.replace('_', ' ')}: {count:,}" for what, count in asdict(self).items()]


def extent(subscriber: Subscriber) -> Extent:
    """Count what would be erased."""
    endpoints = Endpoint.objects.filter(subscriber=subscriber)
    return Extent(
        endpoints=endpoints.existing().count(),
        subscriptions=Subscription.objects.filter(endpoint__subscriber=subscriber).count(),
        api_keys=ApiKey.objects.filter(subscriber=subscriber).count(),
        events=Event.objects.filter(subscriber=subscriber).count(),
        deliveries=Delivery.objects.filter(endpoint__in=endpoints).count(),
    )


def begin(subscriber_id: str) -> Erasure:
    """Take all means from a subscriber and have it erased.

    Raises BeingErased where it is already, and Subscriber.DoesNotExist.
    """
    with transaction.atomic():
        subscriber = Subscriber.objects.select_for_update().get(pk=subscriber_id)
        if subscriber.erasing_since is not None:
            raise BeingErased(f"{subscriber.pk} is being erased already.")
        subscriber.erasing_since = timezone.now()
        subscriber.save(update_fields=["erasing_since"])
        HistoryEntry.objects.create(
            action=HistoryEntry.Action.ERASED,
            kind=HistoryEntry.Kind.SUBSCRIBER,
            object_id=subscriber.pk,
            subscriber=subscriber.pk,
        )
        _disarm(subscriber.pk)
        erasure: Erasure = Erasure.objects.create(subscriber=subscriber.pk)
    return erasure


def carry_on(erasure_id: str, limit: int) -> bool:
    """Erase the next chunk. False where nothing is left, or what is left is held by others now."""
    with transaction.atomic():
        unfinished = Erasure.objects.filter(pk=erasure_id, ended_at=None)
        erasure = unfinished.select_for_update(skip_locked=True, no_key=True).first()
        if erasure is None:
            return False
        subscriber = to_uuid(erasure.subscriber)
        deliveries = [row for (row,) in rows(DELIVERIES, limit, subscriber=subscriber)]
        if deliveries:
            dropped = drop_deliveries(deliveries)
            unfinished.update(deliveries=F("deliveries") + dropped)
            return True
        events = _execute(EVENTS, subscriber, limit)
        if events:
            unfinished.update(events=F("events") + events)
            return True
        if _drop_what_operators_were_told(erasure.subscriber, limit):
            return True
        if Subscriber.objects.filter(pk=erasure.subscriber).exists():
            return _forget(erasure.subscriber)
        entries = HistoryEntry.objects.filter(subscriber=erasure.subscriber)
        others = entries.exclude(action=HistoryEntry.Action.ERASED)
        chunk = dict(others.values_list("pk", "object_id")[:limit])
        if chunk:
            _forget_by_id({*chunk.values()} - {""})
            HistoryEntry.objects.filter(pk__in=chunk).delete()
            return True
        unfinished.update(ended_at=timezone.now())
        return False


def carry_on_all() -> int:
    """Do a share of the unfinished erasures, the oldest first; returns how many chunks it were."""
    settings = part(DeliverySettings)
    done = 0
    unfinished = Erasure.objects.filter(ended_at=None).order_by("pk").values_list("pk", flat=True)
    for erasure in unfinished[: settings.sweep_chunks]:
        while done < settings.sweep_chunks and carry_on(erasure, settings.sweep_chunk):
            done += 1
    return done


def _disarm(subscriber: str) -> None:
    for statement in DISARM:
        _execute(statement, to_uuid(subscriber))


def _drop_what_operators_were_told(subscriber: str, limit: int) -> int:
    notices, _ = OperationalNotice.objects.filter(data__subscriber=subscriber).delete()
    told = rows(TOLD_TO_OPERATORS, limit, named=f"%{subscriber}%")
    events = [from_uuid("evt", event) for (event,) in told]
    deliveries = Delivery.objects.filter(event__in=events).values_list("pk", flat=True)
    drop_deliveries([to_uuid(delivery) for delivery in deliveries])
    Event.objects.filter(pk__in=events).delete()
    return notices + len(events)


def _forget(subscriber_id: str) -> bool:
    """Delete the subscriber itself with its endpoints, unless something of it has come since."""
    # Whoever writes an event or an endpoint of it now waits, and then finds it gone.
    locked = Subscriber.objects.select_for_update(skip_locked=True).filter(pk=subscriber_id)
    subscriber = locked.first()
    if subscriber is None:
        return False
    _disarm(subscriber_id)
    endpoints = Endpoint.objects.filter(subscriber=subscriber)
    if (
        Delivery.objects.filter(endpoint__in=endpoints).exists()
        or Event.objects.filter(subscriber=subscriber).exists()
    ):
        return False
    endpoints.delete()
    subscriber.delete()
    return True


def _forget_by_id(ids: set[str]) -> None:
    """Delete what has the ids of its rows, and no foreign key to them.

    The history knows these ids, also of rows that went long ago; so of all it goes last.
    """
    dead_letters.jobs_naming(ids).delete()
    if apps.is_installed("django.contrib.admin"):
        # Django's admin has a log of its own, in which names are. There an API key goes by its
        # prefix, a dot and a hash.
        log = apps.get_model("admin", "LogEntry").objects
        parts = ("object_id", Value("."), Value(1))
        first = Func(*parts, function="split_part", output_field=TextField())
        log.alias(first=first).filter(first__in=ids).delete()


def _execute(statement: str, subscriber: UUID, limit: int | None = None) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"subscriber": subscriber, "limit": limit})
        return int(cursor.rowcount)
