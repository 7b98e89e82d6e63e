"""All the rows that bear on one event and one endpoint; what they mean is told elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from deliveries.conf import DeliverySettings
from deliveries.models import Attempt, DeadLetter, Delivery, Event, StateChange
from subscriptions.attribution import Actor, ActorKind
from subscriptions.catalogue import catalogue
from subscriptions.conf import part
from subscriptions.history import HistoryEntry
from subscriptions.ids import lowest_uuid_at, to_uuid
from subscriptions.models import ApiKey, Endpoint, Subscription

SHOWN = 100
"""So many attempts, changes and subscriptions at most, the newest."""

UNDER_WAY = [
    Delivery.State.PENDING,
    Delivery.State.SENDING,
    Delivery.State.WAITING,
    Delivery.State.HELD,
]

Row = TypeVar("Row", bound=Model)


class Attributed(Protocol):
    """A row that says whose it is; HistoryEntry and StateChange are such."""

    actor_kind: str
    actor_id: str
    actor_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known at a moment; all sequences are oldest first."""

    now: datetime
    event: Event
    endpoint: Endpoint
    settings: DeliverySettings
    subscriptions: Sequence[Subscription] = ()
    is_reached: bool = True
    """Whether the event's fan-out has come by the endpoint."""
    missing_flag: str = ""
    """The feature flag that the event's type asks for, and the subscriber does not have."""
    history: Sequence[HistoryEntry] = ()
    """What was changed of the endpoint and its subscriptions since the event."""
    moved: HistoryEntry | None = None
    """The last change of the endpoint's state."""
    delivery: Delivery | None = None
    batched_at: datetime | None = None
    """When the batch was formed that it is in, or was."""
    ahead: Delivery | None = None
    """What it waits for, while it is queued."""
    attempts: Sequence[Attempt] = ()
    """At it, or at its batch."""
    state_changes: Sequence[StateChange] = ()
    dead_letters: Sequence[DeadLetter] = ()
    own_keys: frozenset[str] | None = None
    """The prefixes of the API keys that whoever asks may know; None, if they may know everybody."""

    def who(self, row: Attributed) -> str:
        """Whose a change was, as far as whoever asks may know."""
        actor = Actor(ActorKind(row.actor_kind), row.actor_id, row.actor_name)
        is_own = actor.actor_kind == ActorKind.API_KEY and actor.actor_id in (self.own_keys or ())
        is_known = actor.actor_kind in (ActorKind.ANGARIUM, ActorKind.PORTAL)  # the subscriber's
        if self.own_keys is None or is_own or is_known:
            return str(actor)
        return f"another {actor.actor_kind.label}".replace("another User", "a person")


def gather(event: Event, endpoint: Endpoint, *, asked_by: str | None = None) -> Facts:
    """Read what bears on them; `asked_by` is the one subscriber that is asking, if it is one."""
    delivery = (
        Delivery.objects.select_related("lead").filter(event=event, endpoint=endpoint).first()
    )
    history = HistoryEntry.objects.filter(
        endpoint=endpoint.pk,
        kind__in=[HistoryEntry.Kind.ENDPOINT, HistoryEntry.Kind.SUBSCRIPTION],
        pk__gte=lowest_uuid_at(event.created_at),
        at__gte=event.created_at,  # ids know no less than a millisecond
    )
    moves = HistoryEntry.objects.filter(
        kind=HistoryEntry.Kind.ENDPOINT, object_id=endpoint.pk, changes__has_key="state"
    )
    batched_at = None if delivery is None else _batched_at(delivery)
    return Facts(
        now=timezone.now(),
        event=event,
        endpoint=endpoint,
        settings=part(DeliverySettings),
        subscriptions=_newest(endpoint.subscriptions.order_by("-pk")),
        is_reached=_is_reached(event, endpoint),
        missing_flag=_missing_flag(event, endpoint),
        history=_newest(history.order_by("-pk")),
        moved=moves.order_by("-pk").first(),
        delivery=delivery,
        batched_at=batched_at,
        ahead=None if delivery is None else _ahead(delivery),
        attempts=[] if delivery is None else _attempts(delivery, batched_at),
        state_changes=[] if delivery is None else _newest(delivery.state_changes.order_by("-pk")),
        dead_letters=[] if delivery is None else _newest(delivery.dead_letters.order_by("-pk")),
        own_keys=None
        if asked_by is None
        else frozenset(ApiKey.objects.filter(subscriber=asked_by).values_list("prefix", flat=True)),
    )


def _newest(newest_first: QuerySet[Row]) -> list[Row]:
    return [*newest_first[:SHOWN]][::-1]


def _is_reached(event: Event, endpoint: Endpoint) -> bool:
    """A fan-out goes from endpoint to endpoint by their ids."""
    return event.fanned_out_at is not None or (
        event.fan_out_after is not None and to_uuid(endpoint.pk) <= event.fan_out_after
    )


def _missing_flag(event: Event, endpoint: Endpoint) -> str:
    known = catalogue.get(event.type)
    flag = "" if known is None else known.feature_flag
    return "" if flag in endpoint.subscriber.feature_flags else flag


def _batched_at(delivery: Delivery) -> datetime | None:
    if delivery.lead is None:
        return None
    formed = delivery.lead.state_changes.filter(
        cause__in=[StateChange.Cause.BATCH_FORMED, StateChange.Cause.BATCH_HALVED]
    )
    return formed.order_by("-pk").values_list("at", flat=True).first()


def _attempts(delivery: Delivery, batched_at: datetime | None) -> list[Attempt]:
    its_batch = Q(delivery=delivery.lead_id)
    if batched_at is not None:
        its_batch &= Q(ended_at__gte=batched_at)
    attempts = Attempt.objects.filter(Q(delivery=delivery) | its_batch)
    return _newest(attempts.order_by("-ended_at", "-number"))


def _ahead(delivery: Delivery) -> Delivery | None:
    if delivery.state != Delivery.State.QUEUED:
        return None
    others = Delivery.objects.filter(
        endpoint=delivery.endpoint_id, ordering_key=delivery.ordering_key
    )
    head = others.filter(state__in=UNDER_WAY).first()
    earlier = others.filter(state=Delivery.State.QUEUED, ordinal__lt=delivery.ordinal)
    return head or earlier.order_by("ordinal").first()
