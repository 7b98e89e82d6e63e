"""A trace goes from the application through emit() and each attempt to the endpoint."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from deliveries.models import Delivery, Event
from subscriptions.models import ApiKey, Endpoint
from tests import processes
from tests.conftest import MakeEndpoint
from tests.processes import ROOT, database_url, wait_until
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)

EMITS = """
import django; django.setup()
from deliveries.emit import emit
from opentelemetry import trace
with trace.get_tracer("application").start_as_current_span("the application's"):
    emit("invoice.paid", {"name": "a customer of ours"})
"""

HANDS_ON = """
import django; django.setup()
from deliveries.emit import emit
from opentelemetry import context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
came = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
context.attach(TraceContextTextMapPropagator().extract({"traceparent": came}))
emit("invoice.paid", {})
"""


@pytest.fixture
def spans(tmp_path: Path) -> Path:
    return tmp_path / "spans.jsonl"


def run(program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": database_url(),
            **environment,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def written(spans: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in spans.read_text().splitlines()]


def named(spans: Path, name: str) -> list[dict[str, Any]]:
    return [span for span in written(spans) if span["name"] == name]


def ids(span: dict[str, Any]) -> tuple[str, str]:
    """The trace's and the span's own."""
    return span["context"]["trace_id"], span["context"]["span_id"]


def handed_on(traceparent: str | None) -> tuple[str, str]:
    version, trace, span, flags = str(traceparent).split("-")
    assert (version, int(flags, 16) & 1) == ("00", 1)
    return f"0x{trace}", f"0x{span}"


def collected(receiver: Receiver) -> dict[str, list[Span]]:
    """By their names, the spans that came to the collector of a service that says its name."""
    found: dict[str, list[Span]] = defaultdict(list)
    for request in list(receiver.received):
        if request.path == "/v1/traces":
            for of_process in ExportTraceServiceRequest.FromString(request.body).resource_spans:
                names = [
                    one.value.string_value
                    for one in of_process.resource.attributes
                    if one.key == "service.name"
                ]
                assert names == ["angarium"]
                for scope in of_process.scope_spans:
                    for span in scope.spans:
                        found[span.name].append(span)
    return found


def all_ended() -> bool:
    return not Delivery.objects.filter(ended_at=None).exists()


def test_each_attempt_follows_its_emit_and_the_endpoint_that_asks_is_told(
    make_endpoint: MakeEndpoint, receiver: Receiver, lane: str, spans: Path, tmp_path: Path
) -> None:
    receiver.answers["/asks"] = lambda _, number: Answer(500 if number == 1 else 200)
    asks = make_endpoint(url=receiver.url("/asks?token=secret"), send_traceparent=True)
    make_endpoint(url=receiver.url("/asks-not"))
    receiver.answers["/asks?token=secret"] = receiver.answers["/asks"]
    include = ("--include", "tests.end_to_end.traced")
    with processes.worker(tmp_path / "worker.log", *include, LANE=lane, SPANS=str(spans)):
        run("import tests.end_to_end.traced\n" + EMITS, SPANS=str(spans))
        wait_until(all_ended, "the end of all")
        wait_until(lambda: len(named(spans, "attempt")) == 3, "the spans of three attempts")

    [application], [emit] = named(spans, "the application's"), named(spans, "emit")
    attempts = named(spans, "attempt")
    event = Event.objects.get()
    assert handed_on(event.traceparent) == ids(emit)
    assert emit["parent_id"] == application["context"]["span_id"]
    assert {one["parent_id"] for one in attempts} == {emit["context"]["span_id"]}
    assert {one["context"]["trace_id"] for one in attempts} == {application["context"]["trace_id"]}

    of_asking = [one for one in attempts if one["attributes"]["angarium.endpoint_id"] == asks.pk]
    assert [one["attributes"]["angarium.attempt"] for one in of_asking] == [1, 2]
    assert [one["attributes"]["http.response.status_code"] for one in of_asking] == [500, 200]
    assert [one["status"]["status_code"] for one in of_asking] == ["ERROR", "OK"]
    told = [one.headers["traceparent"] for one in receiver.received if "token" in one.path]
    assert [handed_on(one) for one in told] == [ids(one) for one in of_asking]
    untold = [one.headers for one in receiver.received if one.path == "/asks-not"]
    assert [headers.get("traceparent") for headers in untold] == [None]

    text = spans.read_text()
    assert event.pk in text
    assert "a customer of ours" not in text
    assert "token=secret" not in text


def test_the_service_sends_its_spans_to_the_collector_that_a_variable_names(
    make_endpoint: MakeEndpoint, receiver: Receiver, lane: str, tmp_path: Path
) -> None:
    make_endpoint(url=receiver.url("/asks"), send_traceparent=True)
    _, key = ApiKey.objects.create_key(name="an application")
    came = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    receiver.answers["/v1/traces"] = lambda *_: Answer(200, b"")
    to_collector = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url("").removesuffix("/"),
        "OTEL_EXPORTER_OTLP_HEADERS": "webhook-id=spans",  # the receiver counts by it
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with (
        # In the plain lane the spans are made in the children of a prefork pool.
        processes.worker(tmp_path / "worker.log", LANE=lane, **to_collector) as worker,
        processes.web(tmp_path / "web.log", **to_collector) as url,
    ):
        answer = requests.post(
            f"{url}/api/v1/events/",
            json={"type": "invoice.paid", "data": {}},
            headers={"Authorization": f"Bearer {key}", "traceparent": came},
        )
        assert answer.status_code == 201
        wait_until(all_ended, "the end of all")
        wait_until(lambda: {"emit", "attempt"} <= set(collected(receiver)), "both spans")
        assert "Traceback" not in worker.text()
    [emit], [attempt] = collected(receiver)["emit"], collected(receiver)["attempt"]
    _, trace, parent, _ = came.split("-")
    assert (emit.trace_id.hex(), emit.parent_span_id.hex()) == (trace, parent)
    assert (attempt.trace_id.hex(), attempt.parent_span_id) == (trace, emit.span_id)
    [request] = [one for one in receiver.received if one.path == "/asks"]
    assert request.headers["traceparent"] == f"00-{trace}-{attempt.span_id.hex()}-01"


PROVIDER = """
import django; django.setup()
from opentelemetry import trace
print(type(trace.get_tracer_provider()).__name__)
"""


@pytest.mark.parametrize(
    ("variables", "set_up"),
    [
        ({}, "ProxyTracerProvider"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, "TracerProvider"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9"}, "TracerProvider"),
    ],
)
def test_whatever_process_it_is_a_variable_alone_sets_the_sdk_up(
    variables: dict[str, str], set_up: str
) -> None:
    assert run(PROVIDER, **variables) == f"{set_up}\n"


WITHOUT_SDK = """
import sys; sys.modules["opentelemetry.sdk.trace"] = None
import django
try:
    django.setup()
except Exception as error:
    print(type(error).__name__, error)
"""


def test_where_the_sdk_is_missing_nothing_starts_and_it_is_said_what_to_install() -> None:
    said = run(WITHOUT_SDK, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert said.startswith("ImproperlyConfigured OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or")
    assert "install angarium[otel]" in said
    assert run(WITHOUT_SDK) == ""


def test_a_batch_has_a_link_to_each_of_its_events(
    make_endpoint: MakeEndpoint, receiver: Receiver, lane: str, spans: Path, tmp_path: Path
) -> None:
    make_endpoint(url=receiver.url(), batch_events=2, batch_seconds=1, send_traceparent=True)
    include = ("--include", "tests.end_to_end.traced")
    with processes.worker(tmp_path / "worker.log", *include, LANE=lane, SPANS=str(spans)):
        run(
            "import tests.end_to_end.traced\n" + EMITS + '\nemit("invoice.paid", {})',
            SPANS=str(spans),
        )
        wait_until(all_ended, "the end of all")
        wait_until(lambda: len(named(spans, "attempt")) == 1, "the span of the attempt")
    [attempt] = named(spans, "attempt")
    assert attempt["parent_id"] is None
    linked = {link["context"]["span_id"] for link in attempt["links"]}
    assert linked == {emit["context"]["span_id"] for emit in named(spans, "emit")}
    [request] = receiver.received
    assert handed_on(request.headers["traceparent"]) == ids(attempt)


def test_without_an_sdk_the_trace_that_the_application_is_in_is_handed_on(
    make_endpoint: MakeEndpoint, receiver: Receiver, lane: str, spans: Path, tmp_path: Path
) -> None:
    make_endpoint(url=receiver.url(), send_traceparent=True)
    with processes.worker(tmp_path / "worker.log", LANE=lane):
        run(HANDS_ON)
        wait_until(all_ended, "the end of all")
    came = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert Event.objects.get().traceparent == came
    [request] = receiver.received
    assert request.headers["traceparent"] == came
    assert not spans.exists()


def test_outside_of_any_trace_nothing_is_sent_though_it_is_asked_for(
    make_endpoint: MakeEndpoint, receiver: Receiver, lane: str, spans: Path, tmp_path: Path
) -> None:
    make_endpoint(url=receiver.url(), send_traceparent=True)
    with processes.worker(tmp_path / "worker.log", LANE=lane):
        run("import django; django.setup()\nfrom deliveries.emit import emit\nemit('a', {})")
        wait_until(all_ended, "the end of all")
    assert Event.objects.get().traceparent is None
    [request] = receiver.received
    assert "traceparent" not in request.headers
    assert Endpoint.objects.get().send_traceparent
