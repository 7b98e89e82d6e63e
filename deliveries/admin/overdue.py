"""The deliveries that should have been sent by now, the one that is the longest overdue first."""

from typing import Any

from django.db.models import Case, F, Prefetch, QuerySet, When
from django.db.models.functions import Now
from django.http import HttpRequest

from deliveries.models import Delivery, Event
from subscriptions.admin import pages

State = Delivery.State

OVERDUE = "overdue"
"""What the list's filter by state calls them."""

DUE = {State.PENDING: "rung_at", State.WAITING: "next_attempt_at"}
"""By which column each is due; each has an index of those in its state alone, in that order."""


def overdue() -> QuerySet[Delivery, Any]:
    """Their keys: of each state one more than a list counts, the longest overdue of them."""
    pending, waiting = (
        Delivery.objects.filter(state=state, **{f"{column}__lt": Now()})
        .order_by(column)
        .values("pk")[: pages.ROWS_COUNTED + 1]
        for state, column in DUE.items()
    )
    return pending.union(waiting, all=True)


class LongestFirst(pages.ListFromReplica):
    """In the order in which they were due, whatever else is asked for."""

    def get_queryset(self, request: HttpRequest, *options: Any, **more: Any) -> QuerySet[Any]:
        # What belongs to them is looked up for those on the page; joined, it would be for all.
        rows: QuerySet[Any] = super().get_queryset(request, *options, **more).select_related(None)
        return rows.prefetch_related("endpoint", Prefetch("event", Event.objects.defer("payload")))

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        due = Case(*(When(state=state, then=F(column)) for state, column in DUE.items()))
        return [due, "pk"]

    def get_ordering_field_columns(self) -> dict[int, Any]:
        return {}
