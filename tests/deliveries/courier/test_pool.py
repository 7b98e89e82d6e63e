"""The courier as the pool of a real Celery worker: what Celery promises of a task still holds."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings

from config.celery import app
from deliveries import sweeps
from deliveries.bell import DELIVER
from deliveries.emit import emit
from deliveries.models import Attempt, Delivery
from subscriptions.models import Handshake
from tests import processes
from tests.conftest import MakeEndpoint
from tests.deliveries.conftest import states
from tests.deliveries.courier.conftest import (
    MakeUnrung,
    all_delivered,
    ring,
    wait_until_all_is_acknowledged,
)
from tests.deliveries.courier.turnstile import Turnstile
from tests.processes import Process, wait_until
from tests.receiver import Answer, Received, Receiver

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("queue")]


@pytest.fixture(scope="module")
def worker(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    log = tmp_path_factory.mktemp("logs") / "worker.log"
    with processes.worker(log, "--task-events", LANE="courier", ANGARIUM_TIMEOUT="60") as process:
        yield process


def courier_s_figures() -> dict[str, int]:
    [stats] = (app.control.inspect(timeout=5, limit=1).stats() or {}).values()
    assert stats["pool"]["implementation"] == "deliveries.courier.pool:CourierPool"
    figures: dict[str, int] = stats["pool"]["courier"]
    return figures


# What Celery's own tools see and do


def test_a_revoked_delivery_is_not_sent_whether_it_is_to_come_or_waits_for_its_time(
    worker: Process, make_unrung: MakeUnrung, receiver: Receiver
) -> None:
    to_come, waiting, other = make_unrung(3)
    waiting_id = ring(waiting, countdown=2)
    wait_until(
        lambda: waiting_id in str(app.control.inspect(timeout=5, limit=1).scheduled()),
        "the worker to hold the one with a countdown",
    )
    assert app.control.revoke([waiting_id, "the-one-to-come"], reply=True, limit=1)
    ring(to_come, task_id="the-one-to-come")
    ring(other)
    worker.wait_until_it_says(f"Discarding revoked task: {DELIVER}[{waiting_id}]")
    worker.wait_until_it_says(f"Discarding revoked task: {DELIVER}[the-one-to-come]")
    receiver.wait_for(1)
    wait_until_all_is_acknowledged()
    assert states() == {to_come: "pending", waiting: "pending", other: "delivered"}


def test_a_delivery_with_a_countdown_is_sent_when_it_is_over(
    worker: Process, make_unrung: MakeUnrung, receiver: Receiver
) -> None:
    arrivals: dict[str, float] = {}

    def note(request: Received, _: int) -> Answer:
        arrivals[request.path] = time.time()
        return Answer()

    receiver.answers = {"/later": note, "/now": note}
    [later], [now] = make_unrung(path="/later"), make_unrung(path="/now")
    due = time.time() + 1
    ring(later, countdown=1)
    ring(now)
    receiver.wait_for(2)
    assert arrivals["/now"] < due <= arrivals["/later"]
    wait_until_all_is_acknowledged()
    assert all_delivered()


def test_silent_endpoints_that_are_challenged_keep_no_delivery_waiting(
    worker: Process,
    make_endpoint: MakeEndpoint,
    make_unrung: MakeUnrung,
    receiver: Receiver,
    turnstile: Turnstile,
) -> None:
    receiver.answers["/silent"] = turnstile
    challenged = [make_endpoint("none.such", url=receiver.url("/silent")) for _ in range(5)]
    for endpoint in challenged:
        endpoint.require_handshake()
    receiver.wait_for(5, path="/silent")
    [delivery] = make_unrung()
    ring(delivery)
    receiver.wait_for(1, path="/hook")
    assert turnstile.inside == 5
    turnstile.open()
    tried = Handshake.objects.filter(error="the answer does not repeat the challenge")
    wait_until(lambda: tried.count() == 5, "the record of the challenges")
    wait_until_all_is_acknowledged()
    assert all_delivered()


def test_other_tasks_run_beside_deliveries_in_flight_and_both_send_their_events(
    worker: Process, make_unrung: MakeUnrung, receiver: Receiver, turnstile: Turnstile
) -> None:
    receiver.answers["/hook"] = turnstile
    [delivery] = make_unrung()
    heard: list[tuple[str, str]] = []
    sent: dict[str, str] = {}

    def hear(event: dict[str, Any]) -> None:
        if event["type"] == "worker-heartbeat" and not sent:
            sent[ring(delivery)] = "delivery"
        if event.get("uuid") in sent:
            heard.append((sent[event["uuid"]], event["type"]))
            if heard[-1] == ("delivery", "task-started"):
                sent[app.send_task("deliveries.sweep_held").id] = "sweep"
            if heard[-1] == ("sweep", "task-succeeded"):
                turnstile.open()
            listener.should_stop = heard[-1] == ("delivery", "task-succeeded")

    with app.connection_for_read() as connection:
        listener = app.events.Receiver(connection, handlers={"*": hear})
        listener.capture(limit=None, timeout=30, wakeup=True)
    assert heard == [
        ("delivery", "task-received"),
        ("delivery", "task-started"),
        ("sweep", "task-received"),
        ("sweep", "task-started"),
        ("sweep", "task-succeeded"),
        ("delivery", "task-succeeded"),
    ]


def test_inspect_shows_what_the_courier_has_in_flight(
    worker: Process, make_unrung: MakeUnrung, receiver: Receiver, turnstile: Turnstile
) -> None:
    receiver.answers["/hook"] = turnstile
    ids = {ring(delivery) for delivery in make_unrung(3)}
    wait_until(lambda: turnstile.inside == 3, "the deliveries to be in flight")
    figures = courier_s_figures()
    assert (figures["claimed"], figures["in-flight"]) == (3, 3)
    [active] = (app.control.inspect(timeout=5, limit=1).active() or {}).values()
    assert {request["id"] for request in active} == ids
    turnstile.open()
    wait_until_all_is_acknowledged()
    assert set(courier_s_figures().values()) == {0}


def test_a_message_that_names_no_delivery_fails_alone(
    worker: Process, make_unrung: MakeUnrung, receiver: Receiver
) -> None:
    [delivery] = make_unrung()
    nonsense = ring("nonsense")
    ring(delivery)
    receiver.wait_for(1)
    wait_until_all_is_acknowledged()
    assert f"Task {DELIVER}[{nonsense}] raised unexpected" in worker.text()
    assert all_delivered()


def test_celery_s_signals_are_sent(django_db_setup: None, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    include = ("--include", "tests.deliveries.courier.attentive")
    with processes.worker(log, *include, LANE="courier", LOG_FORMAT="line") as worker:
        pass
    heard = [line.rpartition(" ")[2] for line in worker.text().splitlines() if "heard" in line]
    assert heard == ["worker_process_init", "worker_ready", "worker_shutdown"]


# The broker lost


def test_what_is_in_flight_when_the_broker_s_connections_are_lost_ends_and_new_ones_are_taken(
    worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver, turnstile: Turnstile
) -> None:
    def slowly(*_: object) -> Answer:
        time.sleep(0.03)
        return Answer()

    receiver.answers = {"/held": turnstile, "/slow": slowly}
    make_endpoint("held.*", url=receiver.url("/held"))
    make_endpoint("slow.*", url=receiver.url("/slow"))
    losses = worker.text().count("Connection to broker lost")
    for number in range(5):
        emit("held.one", number)
    for number in range(300):
        emit("slow.one", number)
    wait_until(lambda: turnstile.inside == 5, "some to be in flight")
    receiver.wait_for(50, path="/slow")
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        assert client.client_kill_filter(_type="normal", skipme=True)
    assert not all_delivered()
    wait_until(
        lambda: worker.text().count("Connection to broker lost") > losses, "the loss to be noticed"
    )
    for number in range(20):
        emit("slow.one", number)

    def all_but_those_held() -> bool:
        # While the worker reconnects, what waits at a gate goes back to its row.
        sweeps.due()
        return Delivery.objects.filter(state="delivered").count() == 320

    wait_until(all_but_those_held, "all but those held")
    turnstile.open()
    wait_until(all_delivered, "those that were held")
    wait_until_all_is_acknowledged()
    assert Counter(Counter(one.id for one in receiver.received).values()) == {1: 325}
    assert Attempt.objects.count() == 325
