"""What lists are filtered by, beyond a column's own values: when, and whose."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.widgets import AutocompleteSelect
from django.db.models import QuerySet
from django.forms import Form, ModelChoiceField
from django.http import HttpRequest
from django.utils import timezone

from subscriptions.ids import lowest_uuid_at
from subscriptions.models import Endpoint, Subscriber


class CreatedFilter(admin.SimpleListFilter):
    """Goes by the ids, which sort by time and are indexed.

    Besides what it offers it takes two moments, from the first until before the second, as ISO 8601
    with a stroke between them.
    """

    title = parameter_name = "created"
    hours = {
        "hour": ("in the last hour", 1),
        "day": ("in the last 24 hours", 24),
        "week": ("in the last 7 days", 7 * 24),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        offered = [(choice, label) for choice, (label, _) in self.hours.items()]
        asked = self.value() or ""
        if moments := _moments(asked):
            start, end = map(timezone.localtime, moments)
            until = f"{end:%H:%M}" if end - start < timedelta(hours=12) else f"{end:%d %b %H:%M}"
            offered.append((asked, f"{start:%d %b %H:%M} to {until}"))
        return offered

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        asked = self.value() or ""
        if moments := _moments(asked):
            first, last = map(lowest_uuid_at, moments)
            return queryset.filter(pk__gte=first, pk__lt=last)
        if asked not in self.hours:
            return queryset
        _, hours = self.hours[asked]
        return queryset.filter(pk__gte=lowest_uuid_at(timezone.now() - timedelta(hours=hours)))


def _moments(asked: str) -> tuple[datetime, datetime] | None:
    try:
        start, end = map(datetime.fromisoformat, asked.split("/"))
    except ValueError:
        return None
    return None if start.tzinfo is None or end.tzinfo is None else (start, end)


class SubscriberForm(Form):
    subscriber = ModelChoiceField(
        Subscriber.objects.all(),
        required=False,
        widget=AutocompleteSelect(
            Endpoint._meta.get_field("subscriber"),
            admin.site,
            attrs={"data-width": "100%", "aria-label": "Subscriber"},
        ),
    )


class SubscriberFilter(admin.ListFilter):
    """A search box, as there may be more subscribers than a list of links can hold."""

    title = parameter = lookup = "subscriber"
    template = "admin/subscriptions/subscriber_filter.html"

    def __init__(
        self, request: HttpRequest, params: dict[str, list[str]], model: Any, model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        form = SubscriberForm({"subscriber": params.pop(self.parameter, [""])[-1]})
        if not form.is_valid():
            raise IncorrectLookupParameters(form.errors)
        self.subscriber: Subscriber | None = form.cleaned_data["subscriber"]
        if self.subscriber is not None:
            self.used_parameters[self.parameter] = self.subscriber.pk

    def has_output(self) -> bool:
        return self.request.user.has_perm("subscriptions.view_subscriber")

    def expected_parameters(self) -> list[str | None]:
        return [self.parameter]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.subscriber is None:
            return queryset
        return queryset.filter(**{self.lookup: self.subscriber})

    def choices(self, changelist: Any) -> Any:
        others = [
            (name, value)
            for name, values in changelist.filter_params.items()
            for value in values
            if name != self.parameter
        ]
        yield {"form": SubscriberForm(initial={"subscriber": self.subscriber}), "others": others}
