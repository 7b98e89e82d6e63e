"""Order, with real workers: one after another for each key, whatever happens to one of them."""

import json
import random
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from django.conf import settings

from deliveries.emit import emit
from deliveries.models import Delivery
from tests import processes
from tests.conftest import MakeEndpoint
from tests.end_to_end.test_deliveries import all_ended
from tests.processes import Process, wait_until
from tests.receiver import Answer, Received, Receiver

pytestmark = pytest.mark.django_db(transaction=True)

KEYS = [f"order-{number}" for number in range(8)]


def number_of(request: Received) -> tuple[str, int]:
    data = json.loads(request.body)["data"]
    return data["key"], data["n"]


def emit_for_each_key(count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        for key in KEYS:
            emit("order.changed", {"key": key, "n": number}, ordering_key=key)


def arrivals(receiver: Receiver) -> dict[str, list[int]]:
    """The numbers that came for each key, in the order in which they came for the first time."""
    found: dict[str, list[int]] = defaultdict(list)
    for key, number in map(number_of, receiver.received):
        if number not in found[key]:
            found[key].append(number)
    return found


# Before any that asks for `worker`, which lives to the end of the module and would help out.
def test_a_worker_that_is_killed_puts_nothing_out_of_order(
    beat: Process, lane: str, make_endpoint: MakeEndpoint, receiver: Receiver, tmp_path: Path
) -> None:
    killed = threading.Event()

    def stall_in_the_middle(request: Received, _: int) -> Answer:
        if number_of(request)[1] == 5:
            killed.wait(30)
        return Answer()

    receiver.answers["/hook"] = stall_in_the_middle
    make_endpoint(url=receiver.url(), ordered=True)
    emit_for_each_key(10)
    with processes.worker(tmp_path / "first.log", LANE=lane) as victim:
        receiver.wait_for(6)
        victim.kill()
        killed.set()
    assert not all_ended()
    with processes.worker(tmp_path / "second.log", LANE=lane):
        wait_until(all_ended, "the record", patience=90)
    assert arrivals(receiver) == {key: list(range(10)) for key in KEYS}


@pytest.fixture
def workers(lane: str, tmp_path: Path) -> Iterator[list[Process]]:
    """Two at once."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(processes.worker(tmp_path / f"{name}.log", LANE=lane))
            for name in ("first", "second")
        ]


def test_events_of_a_key_arrive_in_order_at_two_workers_though_some_fail_at_first(
    workers: list[Process], make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    chance = random.Random(7)

    def now_and_then(_: Received, number: int) -> Answer:
        return Answer(500 if number == 1 and chance.random() < 0.1 else 200)

    receiver.answers["/hook"] = now_and_then
    make_endpoint(url=receiver.url(), ordered=True)
    emit_for_each_key(10)
    wait_until(all_ended, "the record", patience=60)
    assert arrivals(receiver) == {key: list(range(10)) for key in KEYS}
    assert len(receiver.received) > 80


def test_a_key_that_fails_holds_nobody_else_back(
    worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    broken = True

    def answer(request: Received, _: int) -> Answer:
        return Answer(500 if broken and number_of(request) == (KEYS[0], 1) else 200)

    receiver.answers["/hook"] = answer
    make_endpoint(url=receiver.url(), ordered=True)
    emit_for_each_key(3)
    others = Delivery.objects.exclude(ordering_key=KEYS[0])
    wait_until(lambda: not others.filter(ended_at=None).exists(), "the other keys")
    assert arrivals(receiver)[KEYS[0]] == [0, 1]
    broken = False
    wait_until(all_ended, "the record")
    assert arrivals(receiver)[KEYS[0]] == [0, 1, 2]


def test_a_pause_and_a_flushed_broker_put_nothing_out_of_order(
    beat: Process, worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    endpoint = make_endpoint(url=receiver.url(), ordered=True)
    emit_for_each_key(5)
    receiver.wait_for(12)
    endpoint.pause()
    redis.Redis.from_url(settings.REDIS_URL).flushall()
    emit_for_each_key(5, start=5)
    under_way = Delivery.objects.filter(state__in=["pending", "sending", "waiting"])
    wait_until(lambda: not under_way.exists(), "the pause")
    assert not all_ended()
    endpoint.resume()
    wait_until(all_ended, "the record")
    assert arrivals(receiver) == {key: list(range(10)) for key in KEYS}
