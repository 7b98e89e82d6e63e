"""A worker that is told to end, while deliveries are in flight."""

import signal
from pathlib import Path

import pytest
import redis

from config.celery import app
from config.embedded import valkey
from deliveries.models import Attempt, Delivery
from tests import processes
from tests.deliveries.conftest import states
from tests.deliveries.courier.conftest import MakeUnrung, all_delivered, messages_left, ring
from tests.deliveries.courier.turnstile import Turnstile
from tests.processes import wait_until
from tests.receiver import Receiver

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("queue")]


def test_a_worker_told_to_end_lets_its_deliveries_end_first(
    make_unrung: MakeUnrung, receiver: Receiver, turnstile: Turnstile, tmp_path: Path
) -> None:
    receiver.answers["/hook"] = turnstile
    deliveries = make_unrung(3)
    with processes.worker(tmp_path / "worker.log", LANE="courier") as worker:
        for delivery in deliveries:
            ring(delivery)
        wait_until(lambda: turnstile.inside == 3, "the deliveries to be in flight")
        worker.send(signal.SIGTERM)
        worker.wait_until_it_says("Warm shutdown")
        turnstile.open()
        assert worker.wait(30) == 0
    assert all_delivered()
    assert messages_left() == (0, 0)


def test_what_outlasts_the_grace_goes_back_with_its_message_and_the_next_worker_sends_it(
    make_unrung: MakeUnrung, receiver: Receiver, turnstile: Turnstile, tmp_path: Path
) -> None:
    receiver.answers["/hook"] = turnstile
    deliveries = make_unrung(3)
    with processes.worker(
        tmp_path / "first.log", LANE="courier", ANGARIUM_COURIER_GRACE="0.2"
    ) as worker:
        for delivery in deliveries:
            ring(delivery)
        wait_until(lambda: turnstile.inside == 3, "the deliveries to be in flight")
        worker.send(signal.SIGTERM)
        assert worker.wait(30) == 0
    assert "3 deliveries did not end in time" in worker.text()
    waiting = Delivery.objects.filter(state="waiting", attempt_number=0)
    assert waiting.count() == 3
    assert messages_left() == (3, 0)

    turnstile.open()
    with processes.worker(tmp_path / "second.log", LANE="courier"):
        wait_until(all_delivered, "the deliveries")
    assert set(Attempt.objects.values_list("number", flat=True)) == {1}


@pytest.mark.parametrize("told", ["before the broker goes", "after it went"])
def test_a_worker_that_ends_without_its_broker_records_what_was_in_flight(
    make_unrung: MakeUnrung,
    receiver: Receiver,
    turnstile: Turnstile,
    tmp_path: Path,
    told: str,
) -> None:
    receiver.answers["/hook"] = turnstile
    [delivery] = make_unrung()
    with valkey() as url:
        log = tmp_path / "worker.log"
        with processes.worker(log, "--task-events", REDIS_URL=url, LANE="courier") as worker:
            with app.connection_for_write(url) as connection:
                ring(delivery, connection=connection)
            wait_until(lambda: turnstile.inside, "the delivery to be in flight")
            if told == "before the broker goes":
                worker.send(signal.SIGTERM)
                worker.wait_until_it_says("Warm shutdown")
            with redis.Redis.from_url(url) as client:
                client.shutdown(nosave=True)
            if told == "after it went":
                worker.wait_until_it_says("Connection to broker lost")
                worker.send(signal.SIGTERM)
                worker.wait_until_it_says("Warm shutdown")
            turnstile.open()
            worker.wait(30)
    assert states() == {delivery: "delivered"}
