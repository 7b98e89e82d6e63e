"""Which events and deliveries one subscriber sees, and how much of each.

Lists are newest first. To find the newest of somebody's PostgreSQL goes through everybody's, which
ends soon where a fair share of them is theirs, and never where they have next to none. So those who
have few have them named one by one.
"""

from typing import Any

from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from deliveries.models import Delivery, Event

FEW = 5_000


def events_of(subscriber: str, events: QuerySet[Event]) -> QuerySet[Event]:
    """Those that are for the subscriber, or are delivered to it.

    Each has an `own_delivery_count`: of an event for everybody, `delivery_count` tells how many
    others there are.
    """
    own = _deliveries_of(subscriber).filter(event=OuterRef("pk"))
    counted = own.values("event").values(count=Count("pk"))
    count = Coalesce(Subquery(counted, output_field=IntegerField()), 0)
    seen = Q(subscriber=subscriber) | Q(own_delivery_count__gt=0)
    return events.annotate(own_delivery_count=count).filter(seen)


def listed_events_of(subscriber: str, events: QuerySet[Event]) -> QuerySet[Event]:
    """The same, where the newest are wanted."""
    addressed = Event.objects.filter(subscriber=subscriber).order_by().values("pk")
    delivered = _deliveries_of(subscriber).values("event")
    ids = list(addressed.union(delivered, all=True)[:FEW])
    seen = events_of(subscriber, events)
    return seen if len(ids) == FEW else seen.filter(pk__in={one["pk"] for one in ids})


def listed_deliveries_of(subscriber: str) -> dict[str, Any]:
    """The look-up of the deliveries to the subscriber's endpoints, for a list."""
    ids = list(_deliveries_of(subscriber).values_list("pk", flat=True)[:FEW])
    return {"endpoint__subscriber": subscriber} if len(ids) == FEW else {"pk__in": ids}


def _deliveries_of(subscriber: str) -> QuerySet[Delivery]:
    return Delivery.objects.filter(endpoint__subscriber=subscriber).order_by()
