"""All that is on record of one subscriber, as lines of JSON, in bounded memory.

No secret goes out: of a signing secret its id, its times and its public key, of credentials what
the API shows of them, of an API key its prefix. Nor does who of the operator's people did what.
"""

import json
from collections.abc import Iterator
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from deliveries.dead_letters import jobs_naming
from deliveries.exporting import Row, json_lines, pages_to_show
from deliveries.models import (
    Attempt,
    DeadLetter,
    DeadLetterJob,
    Delivery,
    Event,
    Replay,
    StateChange,
)
from subscriptions.attribution import ActorKind
from subscriptions.history import HistoryEntry
from subscriptions.models import (
    ApiKey,
    Endpoint,
    Feed,
    Handshake,
    PortalSession,
    SigningSecret,
    Subscriber,
    Subscription,
)

COLUMNS = {
    "subscriber": [
        *["id", "name", "external_id", "feature_flags", "operator", "created_at", "erasing_since"],
    ],
    "api_key": [
        *["prefix", "name", "scopes", "rate", "created", "expiry_date", "revoked", "last_used_at"],
    ],
    "portal_session": ["created_at", "expires_at", "ended_at"],
    "endpoint": [
        *["id", "url", "description", "state", "disabled_reason", "created_at", "max_in_flight"],
        *["credentials_shown", "signature_profile", "format", "payload", "projection"],
        *["gzip_above", "batch_events", "batch_seconds", "batch_bytes", "ordered", "rate", "burst"],
        *["send_traceparent", "circuit", "circuit_opened_at", "openings", "probe_at"],
        *["last_success_at", "last_failure_at", "failing_since", "failure_warning"],
    ],
    "signing_secret": ["id", "endpoint", "public_key", "created_at", "expires_at"],
    "subscription": [
        *["id", "endpoint", "pattern", "channels", "filter", "enabled", "created_at"],
        *["filter_failures", "filter_failed_at", "filter_error"],
    ],
    "handshake": [
        *["endpoint", "required_at", "due_at", "tries", "tried_at", "outcome", "status", "error"],
        *["response_body", "verified_at"],
    ],
    "feed": ["endpoint", "last_position"],
    "replay": [
        *["id", "endpoint", "kind", "pattern", "states", "since", "until", "rate"],
        *["state", "replayed", "created_at", "ended_at"],
    ],
    "dead_letter_job": [
        *["id", "action", "selection", "subscriber", "matched", "changed", "asked_at", "ended_at"],
    ],
    "event": [
        *["id", "type", "subscriber", "channels", "occurred_at", "created_at", "idempotency_key"],
        *["ordering_key", "traceparent", "delivery_count", "fanned_out_at", "payload"],
    ],
    "delivery": [
        *["id", "event", "endpoint", "state", "attempt_number", "round_start", "lead"],
        *["batch_size", "feed_position", "created_at", "next_attempt_at", "ended_at"],
    ],
    "attempt": [
        *["delivery", "number", "outcome", "status", "duration_ms", "error", "response_body"],
        *["response_headers", "dns_ms", "connect_ms", "tls_ms", "first_byte_ms", "ended_at"],
    ],
    "dead_letter": [
        *["id", "delivery", "endpoint", "event_type", "reason", "last_error", "died_at"],
        *["resolution", "resolved_at"],
    ],
    "state_change": [
        *["delivery", "at", "was", "became", "cause", "detail", "times"],
        *["actor_kind", "actor_id", "actor_name"],
    ],
    "history": [
        *["id", "at", "action", "kind", "object_id", "name", "count", "endpoint", "changes"],
        *["actor_kind", "actor_id", "actor_name", "ip_address", "request_id"],
    ],
}
"""What is told of each kind of record, in the order in which the kinds come."""

EVENT_FOR_EVERYBODY = ["id", "type", "channels", "occurred_at", "created_at", "payload"]
"""What is told of an event that is others' as well: the rest is the producer's."""

WHO = ("actor_id", "actor_name", "ip_address", "request_id")
"""What is told of those alone who are the subscriber's own: its keys, and itself in the portal."""


def export(subscriber_id: str) -> Iterator[str]:
    """A line for each row: {"record": what it is, and its columns}, after those it refers to."""
    return json_lines(_rows(subscriber_id))


def _rows(subscriber: str) -> Iterator[Row]:
    of_its_endpoints = {"endpoint__subscriber": subscriber}
    endpoints = Endpoint.objects.filter(subscriber=subscriber)
    ids = list(endpoints.order_by("pk").values_list("pk", flat=True))
    keys = ApiKey.objects.filter(subscriber=subscriber)
    own: set[tuple[str, str]] = {(ActorKind.PORTAL, subscriber)}
    own |= {(ActorKind.API_KEY, prefix) for prefix in keys.values_list("prefix", flat=True)}
    sessions = PortalSession.objects.filter(subscriber=subscriber)
    jobs = DeadLetterJob.objects.filter(subscriber=subscriber) | jobs_naming([subscriber, *ids])

    yield from _lines("subscriber", Subscriber.objects.filter(pk=subscriber))
    yield from _lines("api_key", keys)
    yield from _lines("portal_session", sessions)
    yield from _lines("endpoint", endpoints)
    for kind, model in (
        ("signing_secret", SigningSecret),
        ("subscription", Subscription),
        ("handshake", Handshake),
        ("feed", Feed),
        ("replay", Replay),
    ):
        yield from _lines(kind, model._default_manager.filter(**of_its_endpoints))
    yield from _lines("dead_letter_job", jobs)
    yield from map(_with_data, _lines("event", Event.objects.filter(subscriber=subscriber)))
    for endpoint in ids:
        yield from _deliveries(subscriber, endpoint, own)
    history = HistoryEntry.objects.filter(subscriber=subscriber)
    yield from _telling_who(own, _lines("history", history))


def _deliveries(subscriber: str, endpoint: str, own: set[tuple[str, str]]) -> Iterator[Row]:
    """An endpoint's deliveries, each after its event, if that is for everybody, and before the
    attempts at it, its dead letters and its changes of state."""
    earlier = Delivery.objects.filter(
        event=OuterRef("event"), endpoint__subscriber=subscriber, endpoint__lt=OuterRef("endpoint")
    )
    deliveries = Delivery.objects.filter(endpoint=endpoint).annotate(told=Exists(earlier))
    columns = COLUMNS["delivery"]
    for page in pages_to_show(deliveries.values("pk", "event_id", "told", *columns)):
        ids = [delivery["pk"] for delivery in page]
        untold = [delivery["event_id"] for delivery in page if not delivery["told"]]
        shared = Event.objects.filter(pk__in=untold, subscriber=None)
        yield from map(_with_data, _lines("event", shared, EVENT_FOR_EVERYBODY))
        for delivery in page:
            yield {"record": "delivery", **{name: delivery[name] for name in columns}}
        yield from _lines("attempt", Attempt.objects.filter(delivery__in=ids))
        yield from _lines("dead_letter", DeadLetter.objects.filter(delivery__in=ids))
        changes = StateChange.objects.filter(delivery__in=ids)
        yield from _telling_who(own, _lines("state_change", changes))


def _lines(kind: str, rows: QuerySet[Any, Any], columns: list[str] | None = None) -> Iterator[Row]:
    columns = columns or COLUMNS[kind]
    for page in pages_to_show(rows.values("pk", *columns)):
        for row in page:
            yield {"record": kind, **{name: row[name] for name in columns}}


def _with_data(event: Row) -> Row:
    columns = dict(event)
    data = json.loads(columns.pop("payload"))
    return {**columns, "data": data}


def _telling_who(own: set[tuple[str, str]], rows: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        if (row["actor_kind"], row["actor_id"]) in own:
            yield row
        else:
            yield {name: "" if name in WHO else value for name, value in row.items()}
