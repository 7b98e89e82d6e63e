"""Events, with the newest of their deliveries; why one was delivered, or was not."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import JSONObject
from django.forms.models import BaseInlineFormSet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from deliveries.admin.display import deliveries_of, state_of, why
from deliveries.admin.explain_page import EXPLAINED_TO, ExplainForm, explained
from deliveries.admin.json_tree import json_tree
from deliveries.explaining import explain
from deliveries.explaining.facts import gather
from deliveries.models import Delivery, Event
from subscriptions.admin.base import ReadOnlyAdmin, RecordInline
from subscriptions.admin.display import mark, moment
from subscriptions.admin.filters import CreatedFilter

if TYPE_CHECKING:
    InlineFormSet = BaseInlineFormSet[Any, Any, Any]
else:
    InlineFormSet = BaseInlineFormSet

State = Delivery.State

DELIVERIES_SHOWN = 50
UNDER_WAY = [
    *[State.PENDING, State.SENDING, State.WAITING, State.HELD],
    *[State.GATHERING, State.QUEUED, State.BATCHED],
]


class FirstDeliveries(InlineFormSet):
    def get_queryset(self) -> QuerySet[Any]:
        if not hasattr(self, "_queryset"):
            self._queryset = super().get_queryset()[:DELIVERIES_SHOWN]
        return self._queryset


class DeliveryInline(RecordInline):
    model = Delivery
    classes: list[str] = []
    formset = FirstDeliveries
    fields = [
        "endpoint",
        "how_it_is",
        "attempt_number",
        "next_attempt_at",
        "ended_at",
        "why",
    ]
    verbose_name_plural = f"deliveries (the newest {DELIVERIES_SHOWN})"
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("endpoint")

    @admin.display(description="state")
    def how_it_is(self, delivery: Delivery) -> SafeString:
        return state_of(delivery)

    @admin.display
    def why(self, delivery: Delivery) -> SafeString:
        return why(delivery.event_id, delivery.endpoint_id)


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    list_display = [
        "id",
        "type",
        "subscriber",
        "all_deliveries",
        "delivered",
        "under_way",
        "dead",
        "created",
    ]
    list_filter = [CreatedFilter]
    sortable_by = ["id", "created"]
    search_fields = ["type__exact", "idempotency_key__exact"]
    search_help_text = (
        "By event type, idempotency key, or the full id of an event, delivery or subscriber."
    )
    id_lookups = {"evt": "pk", "dlv": "deliveries", "sub": "subscriber"}
    fields = [
        "id",
        "type",
        "subscriber",
        "channels",
        "occurred_at",
        "created_at",
        "idempotency_key",
        "ordering_key",
        ("all_deliveries", "delivered"),
        ("under_way", "dead"),
        "why",
    ]
    inlines = [DeliveryInline]
    change_form_template = "admin/deliveries/event/change_form.html"

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.explain_view)
        return [
            path("<path:object_id>/explain/", page, name="deliveries_event_explain"),
            *super().get_urls(),
        ]

    def explain_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A page that tells why the event was delivered to an endpoint, or was not."""
        event = self.get_object(request, unquote(object_id))
        if event is None:
            raise Http404
        if not request.user.has_perms(EXPLAINED_TO):
            raise PermissionDenied
        form = ExplainForm()
        context = {
            **self.admin_site.each_context(request),
            "title": "Why?",
            "opts": self.opts,
            "media": self.media + form.media,
            "original": event,
            "event": event,
            "form": form,
        }
        asked = ExplainForm(request.GET)
        if asked.is_valid():
            context |= explained(explain(gather(event, asked.cleaned_data["endpoint"])))
        elif request.GET:
            self.message_user(request, "There is no such endpoint.", messages.ERROR)
        return TemplateResponse(request, "admin/deliveries/event/explain.html", context)

    def more_of(self, request: HttpRequest, row: Event) -> dict[str, Any]:
        return {"data": json_tree(row.payload)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        tally = (
            Delivery.objects.filter(event=OuterRef("pk"))
            .order_by()
            .values("event")
            .values(
                tally=JSONObject(
                    delivered=Count("pk", filter=Q(state=State.DELIVERED)),
                    under_way=Count("pk", filter=Q(state__in=UNDER_WAY)),
                    dead=Count("pk", filter=Q(state=State.DEAD)),
                )
            )
        )
        events: QuerySet[Any] = super().get_queryset(request).annotate(tally=Subquery(tally))
        return events.select_related("subscriber").defer("payload")

    @admin.display(description="deliveries")
    def all_deliveries(self, event: Event) -> SafeString:
        return deliveries_of(event.pk, event.delivery_count)

    @admin.display
    def delivered(self, event: Any) -> SafeString | str:
        return self._count(event, "delivered", "good")

    @admin.display
    def under_way(self, event: Any) -> SafeString | str:
        return self._count(event, "under_way", "busy")

    @admin.display
    def dead(self, event: Any) -> SafeString | str:
        return self._count(event, "dead", "bad")

    @admin.display(ordering="-pk")
    def created(self, event: Event) -> SafeString | None:
        return moment(event.created_at)

    @admin.display
    def why(self, event: Event) -> SafeString:
        return why(event.pk)

    def _count(self, event: Any, what: str, tone: str) -> SafeString | str:
        count = (event.tally or {}).get(what, 0)
        return mark(count, tone) if count else "0"
