"""Brokers of a test's own, by the URL that a system's BROKER_URL would have."""

import pytest
from celery import Celery

from config.broker_url import broker_at
from config.celery import app
from deliveries import bell


def app_at(url: str, lane: str) -> Celery:
    """A Celery application as the settings would make it for this broker."""
    broker = broker_at(url, lane)
    there = Celery("angarium", set_as_current=False)
    there.conf.update(
        broker_url=broker.url,
        broker_transport=broker.transport,
        broker_transport_options=broker.transport_options,
        broker_use_ssl=broker.use_ssl,
        task_queues=dict.fromkeys(app.amqp.queues, broker.queue_options),
        task_default_queue=app.conf.task_default_queue,
        task_routes=app.conf.task_routes,
    )
    return there


def ring_at(url: str, lane: str, monkeypatch: pytest.MonkeyPatch) -> bell.Bell:
    """What this process emits rings there, for as long as the test lasts."""
    there = bell.Bell(app_at(url, lane))
    monkeypatch.setattr(bell, "_bell", lambda: there)
    return there
