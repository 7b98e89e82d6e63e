"""Dead letters: why deliveries were given up, to be redriven, discarded or exported."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.forms import Media
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.safestring import SafeString

from deliveries import dead_letter_export, operations
from deliveries.admin.display import why
from deliveries.exporting import download
from deliveries.models import DeadLetter
from subscriptions.admin.base import ReadOnlyAdmin
from subscriptions.admin.bulk import bulk_action
from subscriptions.admin.display import mark, moment
from subscriptions.admin.filters import CreatedFilter, SubscriberFilter, SubscriberForm
from subscriptions.hidden_characters import shown
from subscriptions.history import HistoryEntry
from subscriptions.ids import to_uuid

SEARCHED = 10_000
"""An error is text of any kind, which no index finds."""


def deliveries_in(letters: QuerySet[DeadLetter]) -> list[UUID]:
    return [to_uuid(delivery) for delivery in letters.values_list("delivery", flat=True)]


class ResolutionFilter(admin.SimpleListFilter):
    title = parameter_name = "resolution"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        became = [(value, value) for value in DeadLetter.Resolution.values]
        return [("open", "open"), ("resolved", "resolved"), *became]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        asked, is_open = self.value(), Q(resolution="")
        by_choice = {None: Q(), "open": is_open, "resolved": ~is_open}
        return queryset.filter(by_choice.get(asked, Q(resolution=asked)))


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    list_display = [
        "event_type",
        "endpoint",
        "reason",
        "error",
        "died",
        "how_it_is",
    ]
    list_filter = [ResolutionFilter, "reason", SubscriberFilter, CreatedFilter]
    sortable_by = ()
    search_fields = ["event_type__exact"]
    search_help_text = (
        "By event type, the full id of a dead letter, delivery, event, endpoint or subscriber, or "
        f"by last error among the newest {SEARCHED:,}."
    )
    id_lookups = {
        "dead": "pk",
        "dlv": "delivery",
        "evt": "delivery__event",
        "ep": "endpoint",
        "sub": "subscriber",
    }
    actions = ["redrive", "discard", "export_csv", "export_json_lines"]
    fields = [
        "id",
        "delivery",
        "event_type",
        "endpoint",
        "reason",
        "error",
        "died_at",
        "how_it_is",
        "resolved_at",
        "why",
    ]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        found, doubled = super().get_search_results(request, queryset, search_term)
        if found is queryset or found.exists():
            return found, doubled
        oldest = DeadLetter.objects.order_by("-pk").values("pk")[SEARCHED - 1 : SEARCHED]
        searched = queryset.filter(last_error__icontains=search_term.strip())
        bound = oldest.first()
        return (searched.filter(pk__gte=bound["pk"]) if bound else searched), False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("endpoint")

    @property
    def media(self) -> Media:
        return super().media + SubscriberForm().media

    def history_of(self, obj: DeadLetter) -> QuerySet[HistoryEntry]:
        return HistoryEntry.objects.filter(
            kind=HistoryEntry.Kind.DELIVERY, object_id=obj.delivery_id
        )

    @admin.display(description="last error")
    def error(self, letter: DeadLetter) -> str:
        return shown(letter.last_error)

    @admin.display
    def why(self, letter: DeadLetter) -> SafeString:
        return why(letter.delivery.event_id, letter.delivery.endpoint_id)

    @admin.display
    def died(self, letter: DeadLetter) -> SafeString | None:
        return moment(letter.died_at)

    @admin.display(description="resolution")
    def how_it_is(self, letter: DeadLetter) -> SafeString:
        if not letter.resolution:
            return mark("open", "bad")
        return mark(letter.resolution, "over")

    @bulk_action(
        "Redrive what is open",
        done="redriven",
        permissions=["change"],
        touches=lambda letters: letters.filter(resolution=""),
    )
    def redrive(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> int:
        return len(operations.redrive(deliveries_in(letters)))

    @bulk_action(
        "Discard what is open",
        done="discarded",
        permissions=["change"],
        touches=lambda letters: letters.filter(resolution=""),
    )
    def discard(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> int:
        return len(operations.discard(deliveries_in(letters)))

    @admin.action(description="Export as CSV", permissions=["change"])
    def export_csv(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> HttpResponseBase:
        return self._export(letters, "csv")

    @admin.action(description="Export as lines of JSON", permissions=["change"])
    def export_json_lines(
        self, request: HttpRequest, letters: QuerySet[DeadLetter]
    ) -> HttpResponseBase:
        return self._export(letters, "ndjson")

    def _export(
        self, letters: QuerySet[DeadLetter], form: dead_letter_export.Format
    ) -> HttpResponseBase:
        lines = dead_letter_export.export(letters, form)
        return download(lines, f"dead-letters.{form}", dead_letter_export.CONTENT_TYPES[form])
