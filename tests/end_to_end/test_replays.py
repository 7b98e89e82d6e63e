"""Replays, with real workers: each event once more, whatever dies in the middle."""

from collections import Counter
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.utils import timezone
from rest_framework.test import APIClient

from deliveries import replays
from deliveries.emit import emit
from deliveries.models import Attempt, Delivery, Replay
from subscriptions.models import Endpoint, Subscription
from tests import processes
from tests.conftest import MakeEndpoint
from tests.end_to_end.test_deliveries import all_ended
from tests.faults.ledger import slowly
from tests.processes import Process, wait_until
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)


def delivered(endpoint: Endpoint, count: int) -> set[str]:
    """Events that the endpoint is said to have had."""
    endpoint.pause()
    events = {emit("ledger.entry", {"n": number}).pk for number in range(count)}
    endpoint.deliveries.update(state="delivered", ended_at=timezone.now())
    endpoint.resume()
    return events


def start(endpoint: Endpoint, rate: int = 1000) -> Replay:
    replay = Replay(endpoint=endpoint, rate=rate)
    replay.clean()
    replays.start(replay)
    return replay


def is_over() -> bool:
    return not Replay.objects.exclude(state="finished").exists() and all_ended()


def times_received(receiver: Receiver) -> Counter[str]:
    return Counter(request.id for request in receiver.received)


# Before any that asks for `worker`, which lives to the end of the module and would help out.
def test_a_worker_killed_in_mid_replay_leaves_nothing_out_and_the_job_doubles_nothing(
    beat: Process, lane: str, make_endpoint: MakeEndpoint, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.answers["/hook"] = slowly(0.02)
    endpoint = make_endpoint(url=receiver.url())
    events = delivered(endpoint, 50)
    start(endpoint, rate=5)  # for ten seconds: it is not over before it is killed
    with processes.worker(tmp_path / "first.log", LANE=lane) as victim:
        receiver.wait_for(10)
        victim.kill()
    held = set(Delivery.objects.filter(state="sending").values_list("event_id", flat=True))
    assert Replay.objects.get().state == "running"
    with processes.worker(tmp_path / "second.log", LANE=lane):
        wait_until(is_over, "the replay", patience=90)
    received = times_received(receiver)
    assert set(received) == events
    assert {event for event, times in received.items() if times > 1} <= held
    assert Replay.objects.get().replayed == 50
    interrupted = Attempt.objects.filter(outcome="interrupted").count()
    assert Attempt.objects.count() == 50 + interrupted


def test_what_was_delivered_arrives_once_more_with_the_same_id_and_body(
    api: APIClient, worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    endpoint = make_endpoint("invoice.*", url=receiver.url())
    for number in range(20):
        emit("invoice.paid", {"n": number})
    receiver.wait_for(20)
    wait_until(all_ended, "the record")
    answer = api.post("/api/v1/replays/", {"endpoint": endpoint.pk})
    assert answer.status_code == 201
    receiver.wait_for(40)
    wait_until(is_over, "the replay")
    assert set(times_received(receiver).values()) == {2}
    assert len({(request.id, request.body) for request in receiver.received}) == 20
    shown = api.get(f"/api/v1/replays/{answer.json()['id']}/").json()
    assert (shown["progress"], shown["replayed"]) == (1.0, 20)


def test_events_that_it_never_got_arrive_once_its_subscription_asks_for_them(
    api: APIClient, worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    endpoint = make_endpoint("invoice.*", url=receiver.url())
    missed = {emit("order.paid", {"n": number}).pk for number in range(5)}
    Subscription.objects.create(endpoint=endpoint, pattern="order.*")
    api.post("/api/v1/replays/", {"endpoint": endpoint.pk, "kind": "missed"})
    receiver.wait_for(5)
    wait_until(is_over, "the replay")
    assert times_received(receiver) == Counter(missed)


def test_the_rate_is_kept_to(
    worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    endpoint = make_endpoint(url=receiver.url())
    delivered(endpoint, 20)
    replay = start(endpoint, rate=5)
    wait_until(is_over, "the replay")
    ended_at = Replay.objects.get(pk=replay.pk).ended_at
    assert ended_at is not None
    # Twenty, five a second: the last five are due three seconds after the first.
    assert (ended_at - replay.created_at).total_seconds() > 3
    assert sum(times_received(receiver).values()) == 20


def test_a_flushed_broker_and_a_paused_endpoint_stop_it_for_a_while(
    beat: Process, worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    endpoint = make_endpoint(url=receiver.url())
    events = delivered(endpoint, 60)
    start(endpoint, rate=20)
    receiver.wait_for(10)
    redis.Redis.from_url(settings.REDIS_URL).flushall()
    receiver.wait_for(30)
    endpoint.pause()
    wait_until(lambda: Replay.objects.select_related("endpoint").get().waits_for, "the pause")
    assert not is_over()
    endpoint.resume()
    wait_until(is_over, "the replay")
    assert times_received(receiver) == Counter(events)
