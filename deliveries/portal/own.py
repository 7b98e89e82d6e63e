"""What is a subscriber's own: all that there is to the portal's pages."""

from collections.abc import Collection
from itertools import islice
from typing import TypeVar

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db.models import Model, QuerySet
from django.http import Http404

from deliveries.api.visibility import listed_events_of
from deliveries.models import DeadLetter, Delivery, Event, Replay
from subscriptions.models import Endpoint, EndpointQuerySet, EventType, Subscriber, Subscription

Row = TypeVar("Row", bound=Model)


class Own:
    """The rows that a subscriber sees."""

    def __init__(self, subscriber: Subscriber) -> None:
        self.subscriber = subscriber

    @property
    def endpoints(self) -> EndpointQuerySet:
        return Endpoint.objects.existing().filter(subscriber=self.subscriber)

    @property
    def subscriptions(self) -> QuerySet[Subscription]:
        return Subscription.objects.filter(endpoint__in=self.endpoints)

    @property
    def events(self) -> QuerySet[Event]:
        return listed_events_of(self.subscriber.pk, Event.objects.all())

    @property
    def deliveries(self) -> QuerySet[Delivery]:
        """Those of endpoints that are deleted too: they are on record."""
        return Delivery.objects.filter(endpoint__subscriber=self.subscriber)

    @property
    def dead_letters(self) -> QuerySet[DeadLetter]:
        return DeadLetter.objects.filter(resolution="", subscriber=self.subscriber)

    @property
    def replays(self) -> QuerySet[Replay]:
        return Replay.objects.filter(endpoint__in=self.endpoints)

    @property
    def event_types(self) -> QuerySet[EventType]:
        """Those that it is offered."""
        return EventType.objects.filter(
            archived=False, feature_flag__in=["", *self.subscriber.feature_flags]
        )


def found(rows: QuerySet[Row], key: str) -> Row:
    """The one row of that key; Http404 where it is nobody's, another's, or no key."""
    try:
        rows.model._meta.pk.run_validators(key)  # of a name: PostgreSQL takes no NUL
        return rows.get(pk=key)
    except (ObjectDoesNotExist, ValidationError):
        raise Http404 from None


def locked(rows: QuerySet[Row]) -> QuerySet[Row]:
    """For a change: lest it bring back what is being deleted."""
    return rows.select_for_update(of=("self",), no_key=True)


def newest(
    deliveries: QuerySet[Delivery], endpoints: Collection[Endpoint], limit: int
) -> list[Delivery]:
    """The newest of the deliveries to the endpoints.

    The index is by endpoint: to go through all deliveries for those of a few would take long where
    others have most of them.
    """
    parts = [deliveries.filter(endpoint=one).order_by("-pk")[:limit] for one in endpoints]
    ids = [part.values("pk") for part in parts]
    if not ids:
        return []
    chosen = ids[0].union(*ids[1:], all=True) if len(ids) > 1 else ids[0]
    keys = sorted((row["pk"] for row in chosen), reverse=True)
    rows = deliveries.filter(pk__in=list(islice(keys, limit))).order_by("-pk")
    return list(rows.select_related("event", "endpoint").defer("event__payload"))
