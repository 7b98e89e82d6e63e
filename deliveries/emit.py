"""emit(): the one way in. An application says that something happened."""

import json
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from deliveries import bell
from deliveries.conf import DeliverySettings
from deliveries.fan_out import write_event
from deliveries.models import Event
from subscriptions import event_types
from subscriptions.conf import part
from subscriptions.matching import endpoints_matching
from subscriptions.models import Subscriber
from webhooks import payloads

MAX_IDEMPOTENCY_KEY = 255


class InvalidEvent(ValueError):
    """An argument of emit() that is no good, named by `field`; nothing was written."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class IdempotencyConflict(InvalidEvent):
    """The idempotency key was used before, for an event with other content."""


def emit(
    type: str,
    data: Any,
    *,
    subscriber: Subscriber | str | None = None,
    idempotency_key: str | None = None,
    occurred_at: datetime | None = None,
) -> Event:
    """Write down an event and its deliveries; they are sent once the transaction commits.

    Joins the caller's transaction: rolled back with it, nothing is sent. `subscriber` (or its id)
    limits the event to that subscriber's endpoints; without it every endpoint that asked for such
    events gets it. The same `idempotency_key` with the same content returns the first event.
    `occurred_at` must be aware; it is now where left out.

    The event's `delivery_count` says how many deliveries were made. Where there are more than
    FAN_OUT_INLINE_LIMIT it is 0 as yet, and the `fan_out` task makes them.

    Raises webhooks.payloads.InvalidPayload for data that is not JSON or too large,
    subscriptions.event_types.InvalidEventType, IdempotencyConflict, or InvalidEvent. All of them
    are ValueErrors, and nothing has been written then.
    """
    settings = part(DeliverySettings)
    event_types.check_name(type)
    occurred_at = _in_utc(occurred_at)
    _check_key(idempotency_key)
    payload = payloads.encode(data, max_bytes=settings.max_payload_bytes)
    owner = _subscriber_id(subscriber)

    limit = settings.fan_out_inline_limit
    matches = endpoints_matching(type, subscriber=owner, limit=limit + 1)
    inline = len(matches) <= limit
    event = Event(
        type=type,
        subscriber_id=owner,
        payload=payload,
        occurred_at=occurred_at or timezone.now(),
        idempotency_key=idempotency_key,
        delivery_count=len(matches) if inline else 0,
        fanned_out_at=timezone.now() if inline else None,
    )
    made = write_event(event, matches if inline else [])
    if made is None:
        return _first(event, occurred_at)
    if inline:
        transaction.on_commit(made.announce, robust=True)
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


def _check_key(idempotency_key: str | None) -> None:
    if idempotency_key is not None and (
        not 0 < len(idempotency_key) <= MAX_IDEMPOTENCY_KEY or not idempotency_key.isprintable()
    ):
        raise InvalidEvent(
            "idempotency_key",
            f"idempotency_key must have 1 to {MAX_IDEMPOTENCY_KEY} printable characters.",
        )


def _subscriber_id(subscriber: Subscriber | str | None) -> str | None:
    if subscriber is None:
        return None
    if isinstance(subscriber, Subscriber):
        return subscriber.pk
    try:
        known = Subscriber.objects.filter(pk=subscriber).exists()
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
        first.type != again.type
        or canonical(first) != canonical(again)
        or (occurred_at is not None and first.occurred_at != occurred_at)
    ):
        raise IdempotencyConflict(
            "idempotency_key",
            f"The idempotency key {again.idempotency_key!r} belongs to {first.pk}, an event with "
            "other content: use a new key for a new event.",
        )
