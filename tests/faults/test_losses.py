"""Nothing is lost: a ledger of what was emitted against what was received, with things breaking."""

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.conf import settings

from config.celery import app
from config.embedded import valkey
from deliveries import bell
from deliveries.emit import emit
from deliveries.models import Attempt, Delivery
from tests import processes
from tests.conftest import MakeEndpoint
from tests.processes import Process, wait_until
from tests.receiver import Answer, Received, Receiver

pytestmark = pytest.mark.django_db(transaction=True)

EVENTS = 300


def emit_ledger(count: int = EVENTS) -> set[str]:
    return {emit("ledger.entry", {"n": number}).pk for number in range(count)}


def all_delivered(count: int) -> bool:
    return Delivery.objects.filter(state="delivered").count() == count


def doubled(receiver: Receiver) -> list[str]:
    return [
        event for event, times in Counter(one.id for one in receiver.received).items() if times > 1
    ]


def slowly(_: Received, __: int) -> Answer:
    time.sleep(0.02)
    return Answer()


def test_a_worker_killed_in_mid_run_loses_nothing(
    beat: Process, make_endpoint: MakeEndpoint, receiver: Receiver, lane: str, tmp_path: Path
) -> None:
    receiver.answers["/hook"] = slowly
    make_endpoint(url=receiver.url())
    emitted = emit_ledger()
    with processes.worker(tmp_path / "first.log", LANE=lane) as victim:
        receiver.wait_for(20)
        victim.kill()
    held = set(Delivery.objects.filter(state="sending").values_list("event_id", flat=True))
    assert not all_delivered(EVENTS)
    with processes.worker(tmp_path / "second.log", LANE=lane):
        wait_until(lambda: all_delivered(EVENTS), "every delivery", patience=90)
    assert {request.id for request in receiver.received} == emitted
    assert set(doubled(receiver)) <= held


def test_a_worker_killed_with_batches_in_flight_loses_nothing(
    beat: Process, make_endpoint: MakeEndpoint, receiver: Receiver, lane: str, tmp_path: Path
) -> None:
    receiver.answers["/hook"] = slowly
    make_endpoint(url=receiver.url(), batch_events=7, batch_seconds=1)
    emitted = emit_ledger()
    with processes.worker(tmp_path / "first.log", LANE=lane) as victim:
        receiver.wait_for(3)
        victim.kill()
    sending = Delivery.objects.filter(state="sending")
    held = {f"{lead.pk.replace('dlv_', 'bat_')}_{lead.round_start}" for lead in sending}
    assert not all_delivered(EVENTS)
    with processes.worker(tmp_path / "second.log", LANE=lane):
        wait_until(lambda: all_delivered(EVENTS), "every delivery", patience=90)
    batches = {request.id: json.loads(request.body)["data"] for request in receiver.received}
    arrived = Counter(event["id"] for events in batches.values() for event in events)
    assert set(arrived) == emitted
    assert set(arrived.values()) == {1}
    assert set(doubled(receiver)) <= held


def test_what_a_killed_worker_held_is_tried_again_and_its_attempt_is_told(
    beat: Process, make_endpoint: MakeEndpoint, receiver: Receiver, lane: str, tmp_path: Path
) -> None:
    killed = threading.Event()

    def stall_once(_: Received, number: int) -> Answer:
        if number == 1:
            killed.wait(30)
        return Answer()

    receiver.answers["/hook"] = stall_once
    make_endpoint(url=receiver.url())
    emit("ledger.entry", {})
    with processes.worker(tmp_path / "first.log", LANE=lane) as victim:
        receiver.wait_for(1)
        victim.kill()
        killed.set()
    with processes.worker(tmp_path / "second.log", LANE=lane):
        wait_until(lambda: all_delivered(1), "the second attempt", patience=60)
    outcomes = Attempt.objects.order_by("number").values_list("outcome", flat=True)
    assert list(outcomes) == ["interrupted", "delivered"]


def test_a_broker_flushed_in_mid_run_loses_nothing(
    beat: Process, worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    receiver.answers["/hook"] = slowly
    make_endpoint(url=receiver.url())
    emitted = emit_ledger()
    receiver.wait_for(20)
    redis.Redis.from_url(settings.REDIS_URL).flushall()
    assert not all_delivered(EVENTS)
    wait_until(lambda: all_delivered(EVENTS), "every delivery", patience=90)
    assert {request.id for request in receiver.received} == emitted
    assert doubled(receiver) == []


@pytest.fixture
def own_broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Valkey that the test may maltreat, in the place of the one the suite shares."""
    with valkey() as url:
        own_bell = bell.Bell(app, url)
        monkeypatch.setattr(bell, "_bell", lambda: own_bell)
        yield url


def valkey_pid(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        pid: int = client.info("server")["process_id"]
        return pid


def test_emit_is_quick_and_loses_nothing_while_the_broker_hangs(
    own_broker: str,
    quick_schedules: None,
    make_endpoint: MakeEndpoint,
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
    lane: str,
    tmp_path: Path,
) -> None:
    make_endpoint(url=receiver.url())
    pid = valkey_pid(own_broker)
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        emitted = emit_ledger(10)
        # Celery's own publishing would hang here, for each event, until the broker is back.
        assert time.monotonic() - began < 10
        assert caplog.text.count("The broker took no message") < 10
    finally:
        os.kill(pid, signal.SIGCONT)
    with (
        processes.worker(tmp_path / "worker.log", REDIS_URL=own_broker, LANE=lane),
        processes.beat(tmp_path / "beat.log", REDIS_URL=own_broker),
    ):
        wait_until(lambda: all_delivered(10), "every delivery", patience=60)
    assert {request.id for request in receiver.received} == emitted


def test_two_beats_at_once_make_no_double(
    beat: Process,
    worker: Process,
    make_endpoint: MakeEndpoint,
    receiver: Receiver,
    tmp_path: Path,
) -> None:
    receiver.answers["/hook"] = lambda _, number: Answer(500 if number == 1 else 200)
    make_endpoint(url=receiver.url())
    with processes.beat(tmp_path / "second_beat.log"):
        emitted = emit_ledger(100)
        wait_until(lambda: all_delivered(100), "every delivery", patience=90)
    assert Counter(one.id for one in receiver.received) == dict.fromkeys(emitted, 2)
