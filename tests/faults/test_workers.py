"""Workers that are killed, replaced, or on a wrong clock."""

import time

import pytest

from deliveries.models import Attempt, Delivery
from subscriptions import encryption
from tests import processes
from tests.conftest import MakeEndpoint
from tests.faults.conftest import Enough, Start
from tests.faults.ledger import Ledger, Stall
from tests.processes import Process, wait_until
from tests.receiver import Answer, Received
from webhooks import signing

pytestmark = pytest.mark.django_db(transaction=True)


def kill_in_mid_post(ledger: Ledger, stall: Stall, *victims: Process) -> None:
    ledger.receiver.wait_for(len(victims) + 1)
    for victim in victims:
        victim.kill()
    ledger.broken()
    assert ledger.in_flight
    stall.over.set()


def test_a_worker_killed_in_mid_post_loses_nothing_and_its_attempts_are_told(
    beat: Process,
    make_endpoint: MakeEndpoint,
    ledger: Ledger,
    stall: Stall,
    start_worker: Start,
    enough: Enough,
) -> None:
    make_endpoint(url=ledger.url)
    ledger.emit(enough(100, 300))
    kill_in_mid_post(ledger, stall, start_worker())
    start_worker()
    ledger.close("a worker gets SIGKILL in mid-POST")
    for delivery in Delivery.objects.filter(event__in=ledger.in_flight):
        attempts = Attempt.objects.filter(delivery=delivery).order_by("number")
        assert [one.outcome for one in attempts] == ["interrupted", "delivered"]
    assert Attempt.objects.filter(outcome="interrupted").count() == len(ledger.in_flight)


@pytest.mark.long("plain")
def test_a_worker_killed_with_batches_in_flight_loses_nothing(
    beat: Process,
    make_endpoint: MakeEndpoint,
    ledger: Ledger,
    stall: Stall,
    start_worker: Start,
    enough: Enough,
) -> None:
    make_endpoint(url=ledger.url, batch_events=7, batch_seconds=1)
    ledger.emit(enough(100, 300))
    kill_in_mid_post(ledger, stall, start_worker())
    start_worker()
    ledger.close("a worker gets SIGKILL with batches in flight")


@pytest.mark.long
def test_all_workers_killed_at_once_lose_nothing(
    beat: Process, make_endpoint: MakeEndpoint, ledger: Ledger, stall: Stall, start_worker: Start
) -> None:
    make_endpoint(url=ledger.url)
    victims = [start_worker() for _ in range(3)]
    # No more than are under way before the first of them has waited for too long.
    ledger.emit(60)
    kill_in_mid_post(ledger, stall, *victims)
    ledger.emit(240)
    start_worker()
    ledger.close("all three workers get SIGKILL at once")


@pytest.mark.long
def test_with_nothing_set_what_a_killed_worker_left_is_found_within_ninety_seconds(
    schedules: None,
    make_endpoint: MakeEndpoint,
    ledger: Ledger,
    stall: Stall,
    start_worker: Start,
    start_beat: Start,
) -> None:
    make_endpoint(url=ledger.url)
    ledger.emit(300)
    start_beat(waits=processes.DEFAULTS)
    kill_in_mid_post(ledger, stall, start_worker(waits=processes.DEFAULTS))
    start_worker(waits=processes.DEFAULTS)
    balance = ledger.close("a worker gets SIGKILL in mid-POST, default settings")
    assert balance.recovery < 90


@pytest.mark.long
def test_a_deploy_in_the_middle_of_retries_loses_and_doubles_nothing(
    beat: Process, make_endpoint: MakeEndpoint, ledger: Ledger, start_worker: Start
) -> None:
    def third_time_lucky(_: Received, number: int) -> Answer:
        time.sleep(0.02)
        return Answer(200 if number == 3 else 503)

    make_endpoint(url=ledger.url)
    ledger.answer(third_time_lucky)
    old = [start_worker() for _ in range(2)]
    ledger.emit(300)
    wait_until(Attempt.objects.filter(number=2).exists, "a second attempt")
    ledger.broken()
    for worker in old:
        start_worker()
        worker.stop(patience=60)
        assert worker.status == 0
    balance = ledger.close("a deploy in the middle of retries: workers replaced by SIGTERM")
    assert balance.doubled == 0


@pytest.mark.long("plain")
def test_workers_whose_clocks_are_twenty_minutes_apart_lose_and_double_nothing(
    beat: Process,
    make_endpoint: MakeEndpoint,
    ledger: Ledger,
    start_worker: Start,
    enough: Enough,
) -> None:
    endpoint = make_endpoint(url=ledger.url)
    secret = encryption.decrypt(endpoint.signing_secrets.get().ciphertext)

    def verifies_and_accepts_the_second(request: Received, number: int) -> Answer:
        signing.verify(request.headers, request.body, secret)
        return Answer(200 if number == 2 else 503)

    ledger.answer(verifies_and_accepts_the_second)
    for skew in ("-600", "600"):
        start_worker(launcher=("tests.faults.skewed", skew))
    ledger.broken()
    ledger.emit(enough(50, 300))
    balance = ledger.close("two workers' clocks are ten minutes slow and ten minutes fast")
    assert balance.doubled == 0
