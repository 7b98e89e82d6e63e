"""The admin of events, deliveries and dead letters; test events for endpoints."""

import json
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten, quote, unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, JSONObject
from django.forms import Media
from django.forms.models import BaseInlineFormSet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods

from deliveries import dead_letter_export, operations
from deliveries import replay_admin as replay_admin  # Django looks for admins here
from deliveries.explain_form import ExplainForm
from deliveries.explaining import Explanation, explain
from deliveries.explaining.facts import gather
from deliveries.exporting import download
from deliveries.models import Attempt, DeadLetter, Delivery, Event
from deliveries.subscriber_admin import WholeSubscriberAdmin as WholeSubscriberAdmin
from deliveries.testing import NotTestable, TooManyTests, send_test_event
from deliveries.try_form import ASKED, TryForm
from deliveries.trying import Trial, latest, try_on_events, try_on_example
from subscriptions.admin import (
    CreatedFilter,
    EndpointAdmin,
    RecordAdmin,
    RecordInline,
    SubscriberFilter,
    SubscriberForm,
    SubscriptionAdmin,
    mark,
    moment,
)
from subscriptions.hidden_characters import shown
from subscriptions.history import HistoryEntry
from subscriptions.ids import to_uuid
from subscriptions.models import Endpoint, Subscription

if TYPE_CHECKING:
    InlineFormSet = BaseInlineFormSet[Any, Any, Any]
else:
    InlineFormSet = BaseInlineFormSet

Operation = Callable[[Collection[UUID]], list[UUID]]
State = Delivery.State

DELIVERIES_SHOWN = 50
TONES = {
    State.PENDING: "busy",
    State.SENDING: "busy",
    State.WAITING: "waiting",
    State.HELD: "waiting",
    State.GATHERING: "waiting",
    State.BATCHED: "busy",
    State.QUEUED: "waiting",
    State.DELIVERED: "good",
    State.DEAD: "bad",
    State.DISCARDED: "over",
}
UNDER_WAY = [
    *[State.PENDING, State.SENDING, State.WAITING, State.HELD],
    *[State.GATHERING, State.QUEUED, State.BATCHED],
]


def state_of(delivery: Delivery) -> SafeString:
    state = State(delivery.state)
    return mark(state.value, TONES[state])


def text(value: str) -> SafeString | str:
    """Text from outside, with whatever would not show made visible."""
    return format_html('<pre class="text">{}</pre>', shown(value)) if value else "-"


def readable(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Headers from outside, with whatever would not show made visible."""
    return [(shown(name), shown(value)) for name, value in headers.items()]


def deliveries_of(row_id: str, label: object) -> SafeString:
    """A link to the deliveries of an event or an endpoint."""
    url = reverse("admin:deliveries_delivery_changelist", query={"q": row_id})
    return format_html('<a href="{}">{}</a>', url, label)


def why(event: str, endpoint: str | None = None) -> SafeString:
    """A link to where it is explained what became of an event at an endpoint."""
    query = {} if endpoint is None else {"endpoint": endpoint}
    url = reverse("admin:deliveries_event_explain", args=[quote(event)], query=query)
    words = "Why was it not delivered?" if endpoint is None else "Explain"
    return format_html('<a href="{}">{}</a>', url, words)


def explained(explanation: Explanation) -> dict[str, Any]:
    """An explanation for its page, with whatever in it would not show made visible."""
    delivery = explanation.delivery
    return {
        "explanation": explanation,
        "state": "" if delivery is None else state_of(delivery),
        "answer": shown(explanation.answer),
        "next": shown(explanation.next.sentence),
        "matching": shown(explanation.matching.sentence),
        "subscriptions": [
            {"asked": asked, "change": shown(asked.change)}
            for asked in explanation.matching.subscriptions
        ],
        "moments": [
            {
                "moment": moment,
                "state": mark(moment.state, TONES[State(moment.state)]) if moment.state else "",
                "sentence": shown(moment.sentence),
                "by": shown(moment.by),
                "response": text(moment.attempt.response_body) if moment.attempt else "",
            }
            for moment in explanation.timeline
        ],
    }


class HistoryAdmin(RecordAdmin):
    """What Angarium alone writes."""

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return flatten(self.fields or [])

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


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
class EventAdmin(HistoryAdmin):
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
        ("all_deliveries", "delivered", "under_way", "dead"),
        "why",
        "data",
    ]
    inlines = [DeliveryInline]

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
        allowed = [
            "deliveries.view_event",
            "deliveries.view_delivery",
            "subscriptions.view_endpoint",
        ]
        if not request.user.has_perms(allowed):
            raise PermissionDenied
        form = ExplainForm()
        context = {
            **self.admin_site.each_context(request),
            "title": "Why?",
            "opts": self.opts,
            "media": self.media + form.media,
            "event": event,
            "form": form,
        }
        asked = ExplainForm(request.GET)
        if asked.is_valid():
            context |= explained(explain(gather(event, asked.cleaned_data["endpoint"])))
        elif request.GET:
            self.message_user(request, "There is no such endpoint.", messages.ERROR)
        return TemplateResponse(request, "admin/deliveries/event/explain.html", context)

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
    def data(self, event: Event) -> SafeString | str:
        return text(json.dumps(event.data, indent=2, ensure_ascii=False))

    @admin.display
    def why(self, event: Event) -> SafeString:
        return why(event.pk)

    def _count(self, event: Any, what: str, tone: str) -> SafeString | str:
        count = (event.tally or {}).get(what, 0)
        return mark(count, tone) if count else "0"


class AttemptInline(RecordInline):
    model = Attempt
    fields = [
        "number",
        "outcome",
        "status",
        "took",
        "what_went_wrong",
        "response",
        "ended",
    ]

    @admin.display(description="error")
    def what_went_wrong(self, attempt: Attempt) -> str:
        return shown(attempt.error)

    @admin.display
    def took(self, attempt: Attempt) -> str:
        return ", ".join(f"{step} {taken} ms" for step, taken in attempt.steps.items())

    @admin.display
    def ended(self, attempt: Attempt) -> str:
        return f"{timezone.localtime(attempt.ended_at):%Y-%m-%d %H:%M:%S}"

    @admin.display
    def response(self, attempt: Attempt) -> SafeString | str:
        return text(attempt.response_body)


class DeadLetterInline(RecordInline):
    model = DeadLetter
    fields = ["reason", "error", "died_at", "resolution", "resolved_at"]
    verbose_name_plural = "dead letters"

    @admin.display(description="last error")
    def error(self, letter: DeadLetter) -> str:
        return shown(letter.last_error)


class OwnerFilter(SubscriberFilter):
    lookup = "endpoint__subscriber"


@admin.register(Delivery)
class DeliveryAdmin(HistoryAdmin):
    history_kind = HistoryEntry.Kind.DELIVERY
    list_display = [
        "id",
        "event_type",
        "endpoint",
        "how_it_is",
        "last_outcome",
        "attempts",
        "next_attempt",
        "created",
    ]
    list_filter = ["state", OwnerFilter, CreatedFilter]
    # Other columns have no index to go by.
    sortable_by = ["id", "created"]
    search_fields = ["event__type__exact", "event__idempotency_key__exact"]
    search_help_text = (
        "By event type, idempotency key, or the full id of a delivery, event, endpoint or "
        "subscriber."
    )
    id_lookups = {
        "dlv": "pk",
        "evt": "event",
        "ep": "endpoint",
        "sub": "endpoint__subscriber",
        "dead": "dead_letters",
    }
    actions = ["retry_now", "redrive", "replay", "discard"]
    fields = [
        "id",
        "event",
        "endpoint",
        "how_it_is",
        "why",
        ("lead", "batch_size"),
        "ordering_key",
        "attempt_number",
        "next_attempt_at",
        "lease_expires_at",
        "created_at",
        "ended_at",
    ]
    inlines = [AttemptInline, DeadLetterInline]

    @property
    def media(self) -> Media:
        return super().media + SubscriberForm().media

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        last = Attempt.objects.filter(delivery=Coalesce(OuterRef("lead"), OuterRef("pk"))).order_by(
            "-number"
        )
        outcome = last.values(last=JSONObject(outcome="outcome", status="status"))[:1]
        deliveries: QuerySet[Any] = super().get_queryset(request).annotate(last=Subquery(outcome))
        return deliveries.select_related("event", "endpoint").defer("event__payload")

    @admin.display
    def event_type(self, delivery: Delivery) -> str:
        return delivery.event.type

    @admin.display(description="state")
    def how_it_is(self, delivery: Delivery) -> SafeString:
        return state_of(delivery)

    @admin.display
    def why(self, delivery: Delivery) -> SafeString:
        return why(delivery.event_id, delivery.endpoint_id)

    @admin.display
    def attempts(self, delivery: Delivery) -> int:
        return delivery.attempt_number

    @admin.display
    def next_attempt(self, delivery: Delivery) -> SafeString | None:
        return moment(delivery.next_attempt_at)

    @admin.display
    def last_outcome(self, delivery: Any) -> str | None:
        if delivery.last is None:
            return None
        outcome = Attempt(**delivery.last)
        return f"{outcome.get_outcome_display()} {outcome.status or ''}".rstrip()

    @admin.display(ordering="-pk")
    def created(self, delivery: Delivery) -> SafeString | None:
        return moment(delivery.created_at)

    @admin.action(description="Retry now instead of when it is due", permissions=["change"])
    def retry_now(self, request: HttpRequest, deliveries: QuerySet[Delivery]) -> None:
        self._operate(request, deliveries, operations.retry_now, "retried now")

    @admin.action(description="Redrive what is dead", permissions=["change"])
    def redrive(self, request: HttpRequest, deliveries: QuerySet[Delivery]) -> None:
        self._operate(request, deliveries, operations.redrive, "redriven")

    @admin.action(description="Replay what has ended", permissions=["change"])
    def replay(self, request: HttpRequest, deliveries: QuerySet[Delivery]) -> None:
        self._operate(request, deliveries, operations.replay, "replayed")

    @admin.action(description="Discard what is not delivered", permissions=["change"])
    def discard(self, request: HttpRequest, deliveries: QuerySet[Delivery]) -> None:
        self._operate(request, deliveries, operations.discard, "discarded")

    def _operate(
        self,
        request: HttpRequest,
        deliveries: QuerySet[Delivery],
        operation: Operation,
        done: str,
    ) -> None:
        chosen = [to_uuid(pk) for pk in deliveries.values_list("pk", flat=True)]
        self.report(request, len(operation(chosen)), len(chosen), done)


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
class DeadLetterAdmin(HistoryAdmin):
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
    search_fields = ["event_type__exact", "last_error"]
    search_help_text = (
        "By event type, last error, or the full id of a dead letter, delivery, event, endpoint or "
        "subscriber."
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

    @admin.action(description="Redrive what is open", permissions=["change"])
    def redrive(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> None:
        self._operate(request, letters, operations.redrive, "redriven")

    @admin.action(description="Discard what is open", permissions=["change"])
    def discard(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> None:
        self._operate(request, letters, operations.discard, "discarded")

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

    def _operate(
        self, request: HttpRequest, letters: QuerySet[DeadLetter], operation: Operation, done: str
    ) -> None:
        chosen = letters.count()
        deliveries = letters.filter(resolution="").values_list("delivery", flat=True)
        changed = operation([to_uuid(delivery) for delivery in deliveries])
        self.report(request, len(changed), chosen, done)


admin.site.unregister(Subscription)


@admin.register(Subscription)
class TriedSubscriptionAdmin(SubscriptionAdmin):
    """A subscription that can be tried out on events, as it is or with other words."""

    change_form_template = "admin/subscriptions/subscription/change_form.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.try_out)
        return [
            path("<path:key>/try/", view, name="subscriptions_subscription_try"),
            *super().get_urls(),
        ]

    def try_out(self, request: HttpRequest, key: str) -> HttpResponse:
        if not (
            self.has_view_permission(request) and request.user.has_perm("deliveries.view_event")
        ):
            raise PermissionDenied
        try:
            subscription = Subscription.objects.select_related("endpoint").get(pk=unquote(key))
        except (Subscription.DoesNotExist, ValidationError):
            raise Http404 from None
        words = {name: getattr(subscription, name) for name in ASKED}
        form = TryForm(request.POST if request.method == "POST" else words)
        trials: list[Trial] = []
        if form.is_valid():
            asked, example = form.subscription(), form.example()
            if example is None:
                owner = subscription.endpoint.subscriber_id
                trials = try_on_events(asked, latest(Event.objects.all(), owner))
            else:
                trials = try_on_example(asked, example)
        context = {
            **self.admin_site.each_context(request),
            "title": "Try it",
            "subtitle": str(subscription),
            "opts": self.opts,
            "original": subscription,
            "media": self.media,
            "form": form,
            "trials": trials,
        }
        return TemplateResponse(request, "admin/subscriptions/subscription/try_out.html", context)


admin.site.unregister(Endpoint)


@admin.register(Endpoint)
class DeliveringEndpointAdmin(EndpointAdmin):
    """An endpoint that is also sent test events, and leads to its deliveries."""

    list_display = [*EndpointAdmin.list_display, "deliveries"]
    facts = [*EndpointAdmin.facts, "deliveries"]
    facts_of_a_feed = [*EndpointAdmin.facts_of_a_feed, "deliveries"]

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.test_view)
        return [
            path("<path:object_id>/test/", page, name="subscriptions_endpoint_test"),
            *super().get_urls(),
        ]

    @admin.display
    def deliveries(self, endpoint: Endpoint) -> SafeString:
        return deliveries_of(endpoint.pk, "deliveries")

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def test_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A page that sends a test event, and shows it with its answer."""
        with transaction.atomic():
            endpoint = self.get_object(request, unquote(object_id))
        if endpoint is None or endpoint.is_feed:
            raise Http404
        if not self.has_change_permission(request, endpoint):
            raise PermissionDenied
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": "Test event",
            "opts": self.opts,
            "media": self.media,
            "endpoint": endpoint,
        }
        if request.method == "POST":
            try:
                context["exchange"] = exchange = send_test_event(endpoint)
                context["request_headers"] = readable(exchange.request_headers)
                context["response_headers"] = readable(exchange.response_headers)
                context["response_body"] = text(exchange.outcome.response_body)
            except (NotTestable, TooManyTests) as error:
                self.message_user(request, str(error), messages.ERROR)
        return TemplateResponse(request, "admin/subscriptions/endpoint/test_event.html", context)
