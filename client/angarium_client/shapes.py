"""What the API answers, as its OpenAPI document has it. Times are ISO 8601 in UTC."""

from datetime import datetime
from typing import Any, NotRequired, Required, TypedDict


class Event(TypedDict):
    id: str
    type: str
    subscriber: str | None
    channels: list[str]
    occurred_at: str
    created_at: str
    idempotency_key: str | None
    ordering_key: str | None
    delivery_count: int
    fanned_out_at: str | None


class DeliveryOfEvent(TypedDict):
    id: str
    endpoint: str
    state: str


class EventDetail(Event):
    data: Any
    deliveries: list[DeliveryOfEvent]
    deliveries_url: str


class Delivery(TypedDict):
    id: str
    event: str
    event_type: str
    endpoint: str
    state: str
    lead: str | None
    batch_size: int | None
    attempt_number: int
    created_at: str
    next_attempt_at: str | None
    ended_at: str | None


class Attempt(TypedDict):
    number: int
    outcome: str
    status: int | None
    duration_ms: int
    dns_ms: int | None
    connect_ms: int | None
    tls_ms: int | None
    first_byte_ms: int | None
    error: str
    response_body: str
    response_headers: str
    ended_at: str


class DeliveryDetail(Delivery):
    attempts: list[Attempt]


class Subscribed(TypedDict):
    """A subscription, and whether it asks for an event."""

    id: str
    pattern: str
    channels: list[str]
    filter: str
    matched: bool
    decided_by: str
    explanation: str
    changed_at: str | None
    change: str


class Matching(TypedDict):
    matched: bool
    rule: str
    explanation: str
    subscriptions: list[Subscribed]


class Outlook(TypedDict):
    explanation: str
    at: str | None


class Moment(TypedDict):
    at: str
    what: str
    explanation: str
    state: str
    by: str
    attempt: Attempt | None
    dead_letter: str | None


class Explanation(TypedDict):
    event: str
    endpoint: str
    delivery: str | None
    state: str | None
    answer: str
    next: Outlook
    matching: Matching
    timeline: list[Moment]


class DeadLetter(TypedDict):
    id: str
    delivery: str
    event: str
    event_type: str
    endpoint: str
    subscriber: str
    reason: str
    last_error: str
    died_at: str
    resolution: str
    resolved_at: str | None


class DeadLetterJob(TypedDict):
    id: str | None
    action: str
    matched: int
    changed: int
    asked_at: str | None
    ended_at: str | None


class NewReplay(TypedDict, total=False):
    endpoint: Required[str]
    kind: str
    pattern: str
    states: list[str]
    since: datetime | str | None
    until: datetime | str | None
    rate: int


class ReplayCount(TypedDict):
    count: int
    exact: bool


class Replay(TypedDict):
    id: str
    endpoint: str
    kind: str
    pattern: str
    states: list[str]
    since: str | None
    until: str
    rate: int
    state: str
    waits_for: str
    progress: float
    replayed: int
    created_at: str
    ended_at: str | None


class Subscriber(TypedDict):
    id: str
    name: str
    external_id: str | None
    feature_flags: list[str]
    operator: bool
    created_at: str


class Handshake(TypedDict):
    required_at: str
    tries: int
    tried_at: str | None
    outcome: str | None
    status: int | None
    error: str
    response_body: str
    due_at: str | None
    verified_at: str | None


class Endpoint(TypedDict):
    id: str
    subscriber: str
    url: str
    description: str
    subscriptions: list[Any]
    public_keys: list[str]
    header_names: list[str]
    authentication: dict[str, Any]
    signature_profile: str
    rate: str
    burst: int | None
    format: str
    payload: str
    projection: str
    gzip_above: int | None
    batch_events: int | None
    batch_seconds: int
    batch_bytes: int
    ordered: bool
    send_traceparent: bool
    state: str
    disabled_reason: str
    handshake: Handshake | None
    created_at: str
    last_success_at: str | None
    last_failure_at: str | None
    failing_since: str | None
    failure_warning: int
    circuit: str
    circuit_opened_at: str | None
    openings: int
    probe_at: str | None


class ChangedEndpoint(Endpoint):
    warnings: list[str]


class NewEndpoint(ChangedEndpoint):
    secret: str | None


class SigningSecret(TypedDict):
    secret: NotRequired[str | None]
    public_key: str | None


class ShownRequest(TypedDict):
    url: str
    headers: dict[str, str]
    body: str


class ShownResponse(TypedDict):
    status: int | None
    headers: dict[str, str]
    body: str


class Exchange(TypedDict):
    request: ShownRequest
    response: ShownResponse
    outcome: str
    error: str
    duration_ms: int
