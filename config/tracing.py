"""OpenTelemetry's SDK, in every process of the service, where its standard variables ask for it.

A process that is forked off another goes on with what that one has set up: the SDK's own batches
begin anew in the child, with a thread of its own. In a project of your own set it up yourself.
"""

import os

from celery.signals import worker_process_shutdown
from django.core.exceptions import ImproperlyConfigured
from opentelemetry import trace

WHERE_TO = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""One of these says where the collector is (OpenTelemetry, OTLP exporter configuration)."""

SERVICE_NAME = "angarium"
"""Unless OTEL_SERVICE_NAME says another."""

FLUSH_FOR = 2_000
"""Milliseconds that a worker's child has at its end to hand on its last spans."""


def set_up() -> None:
    """Send spans to the collector that the environment names, if it names one."""
    if not any(map(os.environ.get, WHERE_TO)):
        return
    try:
        # It comes with the extra `otel`, and takes a while to load.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ImproperlyConfigured(
            f"{' or '.join(WHERE_TO)} is set, and OpenTelemetry's SDK is missing: "
            "install angarium[otel], or take the variable away."
        ) from error
    os.environ.setdefault("OTEL_SERVICE_NAME", SERVICE_NAME)
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    # The children of Celery's prefork pool end without what atexit has.
    worker_process_shutdown.connect(
        lambda **_: provider.force_flush(FLUSH_FOR), weak=False, dispatch_uid="tracing"
    )
