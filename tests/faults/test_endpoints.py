"""Endpoints that are slow, come and go, or come back to all that waited for them."""

import time
from collections.abc import Iterator

import pytest

from deliveries.emit import emit
from deliveries.models import DeadLetter, Delivery
from subscriptions.models import Endpoint
from subscriptions.shapes import Payload
from tests.conftest import MakeEndpoint
from tests.faults.conftest import Enough, Start
from tests.faults.ledger import Ledger, slowly
from tests.faults.network import Road
from tests.processes import Process, wait_until
from tests.receiver import Answer, Received, Receiver, most_in

pytestmark = pytest.mark.django_db(transaction=True)

IN_FLIGHT_MAX = 20
"""ENDPOINT_MAX_IN_FLIGHT's default."""

RELEASED_A_SECOND = 100
"""RELEASE_RATE's default."""


@pytest.fixture
def neighbour(receiver: Receiver, lane: str, make_endpoint: MakeEndpoint, enough: Enough) -> Ledger:
    """Another endpoint, with which nothing is wrong."""
    neighbour = Ledger(
        receiver,
        lane,
        [],
        type="neighbour.entry",
        path="/neighbour",
        patience=enough(90, 900),
    )
    make_endpoint("neighbour.*", url=neighbour.url)
    return neighbour


@pytest.mark.long
def test_a_slow_endpoint_loses_nothing_and_in_the_courier_holds_nobody_up(
    beat: Process,
    make_endpoint: MakeEndpoint,
    ledger: Ledger,
    neighbour: Ledger,
    start_worker: Start,
    lane: str,
) -> None:
    ledger.answer(slowly(2))
    make_endpoint("ledger.*", url=ledger.url)
    start_worker()
    ledger.emit(40)
    neighbour.emit(100)
    ledger.broken()
    neighbour.close("beside a slow endpoint")
    if lane == "courier":
        assert ledger.under_way()
    balance = ledger.close("an endpoint takes two seconds for each answer")
    assert balance.doubled == 0


@pytest.mark.long
def test_a_flapping_endpoint_loses_and_doubles_nothing(
    beat: Process, make_endpoint: MakeEndpoint, ledger: Ledger, start_worker: Start
) -> None:
    def every_other_second(_: Received, __: int) -> Answer:
        return Answer(200 if int(time.monotonic()) % 2 else 503)

    ledger.answer(every_other_second)
    make_endpoint(url=ledger.url)
    start_worker(ANGARIUM_RETRY_SCHEDULE=",".join(["1"] * 20), ANGARIUM_JITTER="0.7")
    for _ in range(10):
        ledger.emit(50)
        time.sleep(0.5)
    ledger.broken()
    assert ledger.close("an endpoint answers 503 every other second").doubled == 0


@pytest.fixture
def road(receiver: Receiver) -> Iterator[Road]:
    """The way to the endpoint; when it is cut, the endpoint is dead."""
    road = Road("127.0.0.1", receiver.server.server_port)
    yield road
    road.cut()


@pytest.mark.long("plain")
def test_an_endpoint_that_comes_back_is_not_run_over_by_what_waited_for_it(
    beat: Process,
    make_endpoint: MakeEndpoint,
    ledger: Ledger,
    neighbour: Ledger,
    road: Road,
    start_worker: Start,
    enough: Enough,
) -> None:
    ledger.answer(slowly(enough(100, 10) / 1000))
    make_endpoint("ledger.*", url=f"http://127.0.0.1:{road.port}{ledger.path}")
    road.cut()
    ledger.patience = enough(90, 3000)
    ledger.emit(enough(200, 50_000))
    # Longer than the first attempts take, or those would wait for ever behind the second ones.
    again = enough(2, 240 if ledger.lane == "courier" else 600)
    start_worker(
        ANGARIUM_RETRY_SCHEDULE=",".join([str(again)] * 100),
        ANGARIUM_RETRY_COUNTDOWN_MAX="0",
        # Messages of a long queue are late, not lost.
        ANGARIUM_LOST_AFTER=str(enough(2, 30)),
        ANGARIUM_QUEUE_LIMIT=str(enough(50, 10_000)),
    )
    fresh = Delivery.objects.filter(attempt_number=0)
    wait_until(lambda: not fresh.exists(), "the first attempts", patience=900, pause=0.5)
    assert ledger.accepted() == {}
    ledger.broken()
    road.open()
    ledger.mended()
    neighbour.emit(20)
    neighbour.close("beside an endpoint that comes back")
    if ledger.lane == "courier":
        assert ledger.under_way()
    ledger.close("an endpoint is dead, then back with all that waited; no circuit breaker")
    assert 0 < ledger.receiver.most_under_way[ledger.path] <= IN_FLIGHT_MAX


@pytest.mark.long
def test_what_was_held_for_a_dead_endpoint_is_released_little_by_little(
    beat: Process,
    make_endpoint: MakeEndpoint,
    ledger: Ledger,
    neighbour: Ledger,
    road: Road,
    start_worker: Start,
) -> None:
    ledger.patience = 3000
    make_endpoint("ledger.*", url=f"http://127.0.0.1:{road.port}{ledger.path}")
    road.cut()
    start_worker(
        ANGARIUM_RETRY_SCHEDULE=",".join(["1"] * 20),
        ANGARIUM_CIRCUIT_FAILURE_RATE="0.5",
        ANGARIUM_CIRCUIT_WAIT="5",
        ANGARIUM_CIRCUIT_WAIT_MAX="10",
    )
    ledger.emit(50)
    endpoint = Endpoint.objects.filter(url__contains=f":{road.port}/")
    wait_until(lambda: endpoint.get().circuit == "open", "the circuit to open")
    ledger.emit(50_000 - 50)
    ledger.broken()
    road.open()
    ledger.mended()
    wait_until(lambda: endpoint.get().circuit == "closed", "a probe that succeeds")
    neighbour.emit(20)
    neighbour.close("beside an endpoint whose deliveries are released")
    assert ledger.under_way()
    balance = ledger.close("an endpoint is dead, its circuit open, then back with all that waited")
    assert balance.doubled == 0
    assert not DeadLetter.objects.exists()
    # At most so many a second, after one burst of a second's worth.
    came = sorted(one.at for one in ledger.receiver.received if one.path == ledger.path)
    assert most_in(1.0, came) <= 2.5 * RELEASED_A_SECOND
    assert balance.recovery >= (50_000 - 2 * RELEASED_A_SECOND) / RELEASED_A_SECOND


@pytest.mark.long
def test_an_endpoint_with_a_rate_gets_that_and_its_neighbour_all_that_there_is(
    beat: Process,
    make_endpoint: MakeEndpoint,
    ledger: Ledger,
    neighbour: Ledger,
    start_worker: Start,
) -> None:
    make_endpoint("ledger.*", url=ledger.url, rate="100/s", burst=100)
    ledger.emit(5_000)
    neighbour.emit(1_000)
    ledger.broken()
    for _ in range(2):
        start_worker(ANGARIUM_LEASE_MARGIN="15")  # some wait for a turn while it runs
    neighbour.close("beside an endpoint with a rate")
    if ledger.lane == "courier":
        assert ledger.under_way()
    balance = ledger.close(
        "nothing: two workers, an endpoint that takes 100 a second, 5,000 at once"
    )
    assert balance.doubled == 0
    assert balance.recovery >= (5_000 - 2 * 100) / 100


def test_a_row_that_cannot_be_rendered_is_a_dead_letter_among_others_that_are_delivered(
    beat: Process, make_endpoint: MakeEndpoint, ledger: Ledger, start_worker: Start, enough: Enough
) -> None:
    make_endpoint(url=ledger.url, payload=Payload.PROJECTION, projection="abs(n)")
    ledger.emit(enough(25, 150))
    broken = {emit("broken.entry", {"n": "not a number"}).pk for _ in range(3)}
    ledger.emit(enough(25, 150))
    start_worker()
    ledger.broken()
    assert ledger.close("a row cannot be rendered").doubled == 0
    letters = DeadLetter.objects.filter(reason="unrenderable")
    wait_until(lambda: letters.count() == len(broken), "the dead letters")
    assert set(letters.values_list("delivery__event", flat=True)) == broken
