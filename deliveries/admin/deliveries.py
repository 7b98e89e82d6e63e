"""Deliveries: what became of each, attempt by attempt."""

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, JSONObject
from django.forms import Media
from django.http import HttpRequest
from django.utils.safestring import SafeString

from deliveries import operations
from deliveries.admin.display import state_of, why
from deliveries.admin.exchanges import what_happened
from deliveries.admin.overdue import OVERDUE, LongestFirst, overdue
from deliveries.lifecycle import FINAL, ON_ITS_WAY, TRANSITIONS
from deliveries.models import Attempt, DeadLetter, Delivery
from subscriptions.admin.base import ReadOnlyAdmin, RecordInline
from subscriptions.admin.bulk import bulk_action
from subscriptions.admin.display import moment
from subscriptions.admin.filters import CreatedFilter, SubscriberFilter, SubscriberForm
from subscriptions.hidden_characters import shown
from subscriptions.history import HistoryEntry
from subscriptions.ids import to_uuid
from subscriptions.models import Endpoint

State = Delivery.State

DISCARDABLE = [state for state, after in TRANSITIONS.items() if State.DISCARDED in after]


def ids_of(deliveries: QuerySet[Delivery]) -> list[UUID]:
    return [to_uuid(pk) for pk in deliveries.values_list("pk", flat=True)]


def sent_again(deliveries: QuerySet[Delivery], states: Iterable[State]) -> QuerySet[Delivery]:
    """Those that a redrive or replay of these states would send."""
    gone = {"endpoint__state": Endpoint.State.DELETED}
    return deliveries.filter(state__in=states, feed_position=None).exclude(**gone)


SEVERAL_STATES = {
    "on_its_way": sorted(ON_ITS_WAY),
    "delivered_or_dead": [State.DELIVERED, State.DEAD],
}


class DeadLetterInline(RecordInline):
    model = DeadLetter
    fields = ["reason", "error", "died_at", "resolution", "resolved_at"]
    verbose_name_plural = "dead letters"

    @admin.display(description="last error")
    def error(self, letter: DeadLetter) -> str:
        return shown(letter.last_error)


class StateFilter(admin.SimpleListFilter):
    title = parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("on_its_way", "on its way"),
            (OVERDUE, "overdue, the longest first"),
            ("delivered_or_dead", "delivered or dead"),
            *State.choices,
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        asked = self.value()
        if asked is None:
            return queryset
        if asked == OVERDUE:
            return queryset.filter(pk__in=overdue())
        # Each state that has not ended has an index of its own; IN (…) would take none of them.
        states = SEVERAL_STATES.get(asked, [asked])
        return queryset.filter(reduce(or_, (Q(state=state) for state in states)))


class OwnerFilter(SubscriberFilter):
    lookup = "endpoint__subscriber"


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
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
    list_filter = [StateFilter, OwnerFilter, CreatedFilter]
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
        ("event", "endpoint"),
        ("how_it_is", "why"),
        ("created_at", "ended_at"),
        ("attempt_number", "next_attempt_at"),
        ("lease_expires_at", "ordering_key"),
        ("lead", "batch_size"),
    ]
    inlines = [DeadLetterInline]
    buttons = ["retry_now", "redrive", "replay", "discard"]
    change_form_template = "admin/deliveries/delivery/change_form.html"

    @property
    def media(self) -> Media:
        return super().media + SubscriberForm().media

    def get_changelist(self, request: HttpRequest, **options: Any) -> Any:
        if request.GET.get(StateFilter.parameter_name) == OVERDUE:
            return LongestFirst
        return super().get_changelist(request, **options)

    def more_of(self, request: HttpRequest, row: Delivery) -> dict[str, Any]:
        return what_happened(request.user, row)

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

    @bulk_action(
        "Retry now: instead of when it is due",
        done="retried now",
        permissions=["change"],
        touches=lambda deliveries: deliveries.filter(state=State.WAITING),
    )
    def retry_now(self, request: HttpRequest, deliveries: QuerySet[Delivery]) -> int:
        return len(operations.retry_now(ids_of(deliveries)))

    @bulk_action(
        "Redrive what is dead",
        done="redriven",
        permissions=["change"],
        touches=lambda deliveries: sent_again(deliveries, [State.DEAD]),
    )
    def redrive(self, request: HttpRequest, deliveries: QuerySet[Delivery]) -> int:
        return len(operations.redrive(ids_of(deliveries)))

    @bulk_action(
        "Replay what has ended",
        done="replayed",
        permissions=["change"],
        touches=lambda deliveries: sent_again(deliveries, FINAL),
    )
    def replay(self, request: HttpRequest, deliveries: QuerySet[Delivery]) -> int:
        return len(operations.replay(ids_of(deliveries)))

    @bulk_action(
        "Discard what is not delivered",
        done="discarded",
        permissions=["change"],
        touches=lambda deliveries: deliveries.filter(state__in=DISCARDABLE),
    )
    def discard(self, request: HttpRequest, deliveries: QuerySet[Delivery]) -> int:
        return len(operations.discard(ids_of(deliveries)))
