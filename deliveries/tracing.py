"""Traces, from emit() to each attempt, by OpenTelemetry.

Where no SDK is set up there are no spans, and nothing is paid for them; a trace that the
application is in is handed on all the same. Spans have ids, and never a payload, a header or what
an error says.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit

from opentelemetry import context, trace
from opentelemetry.trace import Link, NoOpTracerProvider, ProxyTracerProvider, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from deliveries.models import Event
from deliveries.pipeline import Claim
from subscriptions.ids import from_uuid
from webhooks.sending.headers import TRACEPARENT
from webhooks.sending.outcome import Outcome, OutgoingRequest

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Ended = Callable[[Outcome], Result]

tracer = trace.get_tracer("angarium")
w3c = TraceContextTextMapPropagator()


def traced(emit: Callable[Arguments, Event]) -> Callable[Arguments, Event]:
    """Let each call be a span, which the event's attempts follow."""

    @wraps(emit)
    def emit_in_a_span(*args: Arguments.args, **options: Arguments.kwargs) -> Event:
        if not _is_set_up():
            return emit(*args, **options)
        # What an exception says of bad data may quote it.
        with tracer.start_as_current_span(
            "emit", kind=SpanKind.PRODUCER, record_exception=False, set_status_on_exception=False
        ) as span:
            event = emit(*args, **options)
            span.set_attribute("angarium.event_id", event.pk)
        return event

    return emit_in_a_span


def current() -> str | None:
    """The traceparent of the span that this is in (W3C Trace Context, 3.2), if it is in one."""
    return _traceparent(trace.get_current_span())


@contextmanager
def continued(traceparent: str | None) -> Iterator[None]:
    """Be in the trace that a request came with, unless the application is in one already.

    What is no traceparent is passed over (W3C Trace Context, 4.3).
    """
    if traceparent is None or current() is not None:
        yield
        return
    token = context.attach(w3c.extract({TRACEPARENT: traceparent}))
    try:
        yield
    finally:
        context.detach(token)


def attempt(
    claim: Claim, request: OutgoingRequest, ended: Ended[Result]
) -> tuple[OutgoingRequest, Ended[Result]]:
    """The request as it is to be sent, and what is to be called at its end: a span lies between.

    It follows its event's emit(); that of a batch has links to those of its events.
    """
    if not _is_set_up():
        # Of a batch there is no one trace to hand on.
        traceparent = None if claim.shape.batched else claim.events[0].traceparent
        return _with(traceparent, claim, request), ended
    span = _begin(claim)

    def ended_in_a_span(outcome: Outcome) -> Result:
        if outcome.status is not None:
            span.set_attribute("http.response.status_code", outcome.status)
        span.set_attribute("angarium.outcome", outcome.kind.value)
        span.set_status(StatusCode.OK if outcome.succeeded else StatusCode.ERROR)
        span.end()
        return ended(outcome)

    return _with(_traceparent(span), claim, request), ended_in_a_span


def _begin(claim: Claim) -> trace.Span:
    spans = [
        w3c.extract({TRACEPARENT: event.traceparent}) for event in claim.events if event.traceparent
    ]
    links = [Link(trace.get_current_span(span).get_span_context()) for span in spans]
    return tracer.start_span(
        "attempt",
        kind=SpanKind.CLIENT,
        context=None if claim.shape.batched or not spans else spans[0],
        links=links if claim.shape.batched else None,
        attributes={
            "angarium.delivery_id": from_uuid("dlv", claim.lease.delivery),
            "angarium.endpoint_id": from_uuid("ep", claim.lease.endpoint),
            "angarium.event_ids": [from_uuid("evt", event.id) for event in claim.events],
            "angarium.attempt": claim.lease.attempt_number,
            "http.request.method": "POST",
            # Without its path and query, where some have a secret.
            "server.address": urlsplit(claim.url).hostname or "",
        },
    )


def _with(traceparent: str | None, claim: Claim, request: OutgoingRequest) -> OutgoingRequest:
    if traceparent is None or not claim.send_traceparent:
        return request
    return replace(request, headers={**request.headers, TRACEPARENT: traceparent})


def _traceparent(span: trace.Span) -> str | None:
    of = span.get_span_context()
    if not of.is_valid:
        return None
    return f"00-{of.trace_id:032x}-{of.span_id:016x}-{of.trace_flags:02x}"


def _is_set_up() -> bool:
    return not isinstance(trace.get_tracer_provider(), NOTHING)


NOTHING = (ProxyTracerProvider, NoOpTracerProvider)
"""What there is in place of an SDK."""
