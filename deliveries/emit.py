"""emit(): the one way in. An application says that something happened."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from deliveries import bell, telling, tracing
from deliveries.conf import DeliverySettings
from deliveries.fan_out import write_event
from deliveries.models import Event
from subscriptions import event_types
from subscriptions.catalogue import check_event
from subscriptions.channels import InvalidChannels, normalized
from subscriptions.conf import part
from subscriptions.filtering import note_failures, sift
from subscriptions.matching import endpoints_matching
from subscriptions.models import Subscriber
from webhooks import payloads

MAX_KEY = 255


class InvalidEvent(ValueError):
    """An argument of emit() that is no good, named by `field`; nothing was written."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class IdempotencyConflict(InvalidEvent):
    """The idempotency key was used before, for an event with other content."""


@tracing.traced
def emit(
    type: str,
    data: Any,
    *,
    subscriber: Subscriber | str | None = None,
    channels: Iterable[str] | None = None,
    idempotency_key: str | None = None,
    ordering_key: str | None = None,
    occurred_at: datetime | None = None,
) -> Event:
    """Write down an event and its deliveries; they are sent once the transaction commits.

    Joins the caller's transaction: rolled back with it, nothing is sent. `subscriber` (or its id)
    limits the event to that subscriber's endpoints; without it every endpoint that asked for such
    events gets it. `channels` are labels, ten at most ("eu", "project-42"): a subscription that
    asks for some gets only events that have one of them. The same `idempotency_key` with the same
    content returns the first event. Events with the same `ordering_key` arrive one after another,
    as they were emitted, at endpoints that ask for order. `occurred_at` must be aware; it is now
    where left out.

    The event's `delivery_count` says how many deliveries were made. Where there are more than
    FAN_OUT_INLINE_LIMIT, or their filters take long, it is 0 as yet, and the `fan_out` task makes
    them.

    Raises webhooks.payloads.InvalidPayload for data that is not JSON, too large, or not as the
    event type's schema says; subscriptions.event_types.InvalidEventType, IdempotencyConflict, or
    InvalidEvent. All of them are ValueErrors, and nothing has been written then.
    """
    settings = part(DeliverySettings)
    event_types.check_name(type)
    occurred_at = _in_utc(occurred_at)
    on_channels = _channels(channels)
    _check_key("idempotency_key", idempotency_key)
    _check_key("ordering_key", ordering_key)
    payload = payloads.encode(data, max_bytes=settings.max_payload_bytes)
    owner = _subscriber_id(subscriber)
    check_event(type, payload, subscriber=owner)

    limit = settings.fan_out_inline_limit
    matches = endpoints_matching(type, subscriber=owner, channels=on_channels, limit=limit + 1)
    sifted = sift(matches if len(matches) <= limit else [], lambda: json.loads(payload))
    inline = sifted.judged == len(matches)
    passing = sifted.passing if inline else []
    event = Event(
        type=type,
        subscriber_id=owner,
        channels=on_channels,
        payload=payload,
        occurred_at=occurred_at or timezone.now(),
        idempotency_key=idempotency_key,
        ordering_key=ordering_key,
        delivery_count=len(passing),
        fanned_out_at=timezone.now() if inline else None,
        traceparent=tracing.current(),
    )
    made = write_event(event, passing)
    if made is None:
        return _first(event, occurred_at)
    telling.emitted()
    if inline:
        transaction.on_commit(made.announce, robust=True)
        note_failures(event.pk, sifted.failures)
    else:
        transaction.on_commit(lambda: bell.ring_for_fan_out([event.pk]), robust=True)
    return event


def _in_utc(occurred_at: datetime | None) -> datetime | None:
    if occurred_at is None:
        return None
    if occurred_at.tzinfo is None:
        raise InvalidEvent("occurred_at", "occurred_at has no time zone: pass an aware datetime.")
    try:
        return occurred_at.astimezone(UTC)
    except OverflowError as error:
        raise InvalidEvent(
            "occurred_at", "occurred_at is outside the years 1 to 9999 of UTC."
        ) from error


def _channels(channels: Iterable[str] | None) -> list[str] | None:
    if channels is None:
        return None
    try:
        return normalized(channels) or None
    except InvalidChannels as error:
        raise InvalidEvent("channels", str(error)) from error


def _check_key(name: str, key: str | None) -> None:
    if key is not None and (not 0 < len(key) <= MAX_KEY or not key.isprintable()):
        raise InvalidEvent(name, f"{name} must have 1 to {MAX_KEY} printable characters.")


def _subscriber_id(subscriber: Subscriber | str | None) -> str | None:
    if subscriber is None:
        return None
    if isinstance(subscriber, Subscriber):
        return subscriber.pk
    try:
        known = Subscriber.objects.staying().filter(pk=subscriber).exists()
    except ValidationError as error:
        raise InvalidEvent("subscriber", error.messages[0]) from error
    if not known:
        raise InvalidEvent("subscriber", f"There is no subscriber {subscriber}.")
    return subscriber


def _first(again: Event, occurred_at: datetime | None) -> Event:
    """The event that was first with an idempotency key. Raises IdempotencyConflict."""
    first = Event.objects.get(
        subscriber_id=again.subscriber_id, idempotency_key=again.idempotency_key
    )
    _check_same_content(first, again, occurred_at)
    first.repeated = True
    return first


def _check_same_content(first: Event, again: Event, occurred_at: datetime | None) -> None:
    def canonical(event: Event) -> str:
        return json.dumps(event.data, sort_keys=True)

    if (
        (first.type, first.ordering_key) != (again.type, again.ordering_key)
        or first.channels != again.channels
        or canonical(first) != canonical(again)
        or (occurred_at is not None and first.occurred_at != occurred_at)
    ):
        raise IdempotencyConflict(
            "idempotency_key",
            f"The idempotency key {again.idempotency_key!r} belongs to {first.pk}, an event with "
            "other content: use a new key for a new event.",
        )
