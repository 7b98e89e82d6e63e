"""The queue, looked at once a minute."""

from contextlib import closing
from datetime import timedelta

import pytest
from django.utils import timezone

from config.celery import app
from deliveries import bell, retention, sampling, tasks
from deliveries.models import QueueSample
from subscriptions.ids import to_uuid
from tests.conftest import Queue
from tests.deliveries.conftest import MakeDelivery
from tests.faults.broker import Broker

pytestmark = pytest.mark.django_db


def test_a_sample_has_what_waits_on_the_broker_what_is_pending_and_what_is_overdue(
    make_delivery: MakeDelivery, queue: Queue
) -> None:
    now = timezone.now()
    pending = make_delivery(state="pending", rung_at=now - timedelta(hours=1))
    make_delivery(state="waiting", next_attempt_at=now + timedelta(seconds=90))
    bell.ring([to_uuid(pending.pk)])
    tasks.sweep_health()
    sample = QueueSample.objects.get()
    assert (sample.messages, sample.pending) == (1, 1)
    assert sample.overdue == pytest.approx(3600, abs=60)
    assert (sample.minute.second, sample.minute.microsecond) == (0, 0)


def test_of_a_minute_there_is_one_sample_however_often_it_is_taken(
    queue: Queue, make_delivery: MakeDelivery
) -> None:
    # In one transaction, whose clock stands still.
    sampling.sample_queue()
    make_delivery(state="pending", rung_at=timezone.now())
    sampling.sample_queue()
    assert [sample.pending for sample in QueueSample.objects.all()] == [0]


def test_while_the_broker_does_not_answer_the_sample_has_the_rest(
    make_delivery: MakeDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_delivery(state="pending", rung_at=timezone.now())
    with closing(Broker()) as broker:
        monkeypatch.setattr(bell, "_bell", lambda: bell.Bell(app, broker.url))
        broker.road.cut()
        sampling.sample_queue()
    sample = QueueSample.objects.get()
    assert (sample.messages, sample.pending) == (None, 1)


def test_samples_are_dropped_when_no_dashboard_looks_so_far_back() -> None:
    now = timezone.now()
    for days in (9, 7, 0):
        minute = now - timedelta(days=days)
        QueueSample.objects.create(minute=minute, messages=0, pending=0, overdue=0)
    assert retention.old_queue_samples() == 1
    assert QueueSample.objects.earliest("minute").minute == now - timedelta(days=7)
