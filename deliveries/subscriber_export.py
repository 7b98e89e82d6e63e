"""All that is on record of one subscriber, as lines of JSON, in bounded memory.

No secret goes out: of a signing secret its id, its times and its public key, of credentials what
the API shows of them, of an API key its prefix.
"""

import json
from collections.abc import Iterator
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from deliveries.exporting import Row, json_lines, pages_to_show
from deliveries.models import Attempt, DeadLetter, Delivery, Event, Replay
from subscriptions.history import HistoryEntry
from subscriptions.models import (
    ApiKey,
    Endpoint,
    Feed,
    Handshake,
    SigningSecret,
    Subscriber,
    Subscription,
)

SUBSCRIBER = ["id", "name", "external_id", "feature_flags", "operator", "created_at"]
API_KEY = ["prefix", "name", "scopes", "rate", "created", "expiry_date", "revoked", "last_used_at"]
ENDPOINT = [
    *["id", "url", "description", "state", "disabled_reason", "created_at", "max_in_flight"],
    *["credentials_shown", "signature_profile", "format", "payload", "projection", "gzip_above"],
    *["batch_events", "batch_seconds", "batch_bytes", "ordered", "rate", "burst"],
    *["send_traceparent", "circuit", "circuit_opened_at"],
    *["last_success_at", "last_failure_at", "failing_since"],
]
SIGNING_SECRET = ["id", "endpoint", "public_key", "created_at", "expires_at"]
SUBSCRIPTION = [
    *["id", "endpoint", "pattern", "channels", "filter", "enabled", "created_at"],
    *["filter_failures", "filter_failed_at", "filter_error"],
]
HANDSHAKE = [
    *["endpoint", "required_at", "due_at", "tries", "tried_at", "outcome", "status", "error"],
    *["response_body", "verified_at"],
]
FEED = ["endpoint", "last_position"]
EVENT = [
    *["id", "type", "subscriber", "channels", "occurred_at", "created_at"],
    *["idempotency_key", "ordering_key", "payload"],
]
EVENT_FOR_EVERYBODY = ["id", "type", "channels", "occurred_at", "created_at", "payload"]
DELIVERY = [
    *["id", "event", "endpoint", "state", "attempt_number", "lead", "batch_size", "feed_position"],
    *["created_at", "next_attempt_at", "ended_at"],
]
ATTEMPT = [
    *["delivery", "number", "outcome", "status", "duration_ms", "error", "response_body"],
    *["response_headers", "dns_ms", "connect_ms", "tls_ms", "first_byte_ms", "ended_at"],
]
DEAD_LETTER = [
    *["id", "delivery", "reason", "last_error", "died_at", "resolution", "resolved_at"],
]
REPLAY = [
    *["id", "endpoint", "kind", "pattern", "states", "since", "until", "rate"],
    *["state", "replayed", "created_at", "ended_at"],
]
HISTORY = ["id", "at", "action", "kind", "object_id", "name", "count", "endpoint", "changes"]


def export(subscriber_id: str) -> Iterator[str]:
    """A line for each row: {"record": what it is, and its columns}, after those it refers to."""
    return json_lines(_rows(subscriber_id))


def _rows(subscriber: str) -> Iterator[Row]:
    of_its_endpoints = {"endpoint__subscriber": subscriber}
    yield from _lines("subscriber", Subscriber.objects.filter(pk=subscriber), SUBSCRIBER)
    yield from _lines("api_key", ApiKey.objects.filter(subscriber=subscriber), API_KEY)
    endpoints = Endpoint.objects.filter(subscriber=subscriber)
    yield from _lines("endpoint", endpoints, ENDPOINT)
    for kind, model, columns in (
        ("signing_secret", SigningSecret, SIGNING_SECRET),
        ("subscription", Subscription, SUBSCRIPTION),
        ("handshake", Handshake, HANDSHAKE),
        ("feed", Feed, FEED),
        ("replay", Replay, REPLAY),
    ):
        yield from _lines(kind, model._default_manager.filter(**of_its_endpoints), columns)
    yield from map(_with_data, _lines("event", Event.objects.filter(subscriber=subscriber), EVENT))
    for endpoint in endpoints.order_by("pk").values_list("pk", flat=True):
        yield from _deliveries(subscriber, endpoint)
    yield from _lines("history", HistoryEntry.objects.filter(subscriber=subscriber), HISTORY)


def _deliveries(subscriber: str, endpoint: str) -> Iterator[Row]:
    """An endpoint's deliveries, each after its event, if that is for everybody, and before the
    attempts at it and its dead letters."""
    earlier = Delivery.objects.filter(
        event=OuterRef("event"), endpoint__subscriber=subscriber, endpoint__lt=OuterRef("endpoint")
    )
    deliveries = Delivery.objects.filter(endpoint=endpoint).annotate(told=Exists(earlier))
    for page in pages_to_show(deliveries.values("pk", "event_id", "told", *DELIVERY)):
        ids = [delivery["pk"] for delivery in page]
        untold = [delivery["event_id"] for delivery in page if not delivery["told"]]
        shared = Event.objects.filter(pk__in=untold, subscriber=None)
        yield from map(_with_data, _lines("event", shared, EVENT_FOR_EVERYBODY))
        for delivery in page:
            yield {"record": "delivery", **{name: delivery[name] for name in DELIVERY}}
        yield from _lines("attempt", Attempt.objects.filter(delivery__in=ids), ATTEMPT)
        yield from _lines("dead_letter", DeadLetter.objects.filter(delivery__in=ids), DEAD_LETTER)


def _lines(kind: str, rows: QuerySet[Any, Any], columns: list[str]) -> Iterator[Row]:
    for page in pages_to_show(rows.values("pk", *columns)):
        for row in page:
            yield {"record": kind, **{name: row[name] for name in columns}}


def _with_data(event: Row) -> Row:
    columns = dict(event)
    data = json.loads(columns.pop("payload"))
    return {**columns, "data": data}
