"""Which events one subscriber sees, and how much of each."""

from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from deliveries.models import Delivery, Event


def events_of(subscriber: str, events: QuerySet[Event]) -> QuerySet[Event]:
    """Those that are for the subscriber, or are delivered to it.

    Each has an `own_delivery_count`: of an event for everybody, `delivery_count` tells how many
    others there are.
    """
    deliveries = Delivery.objects.filter(endpoint__subscriber=subscriber).order_by()
    # A union, so that PostgreSQL takes an index for either half; it does not for an OR.
    addressed = Event.objects.filter(subscriber=subscriber).order_by()
    seen = addressed.values("pk").union(deliveries.values("event"))
    own = deliveries.filter(event=OuterRef("pk")).values("event").values(count=Count("pk"))
    count = Coalesce(Subquery(own, output_field=IntegerField()), 0)
    return events.filter(pk__in=seen).annotate(own_delivery_count=count)
