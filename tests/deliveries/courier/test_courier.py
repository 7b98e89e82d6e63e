"""The courier on a hub of its own, with the real sender, database and receiver."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from functools import partial
from socket import socketpair
from time import monotonic, sleep
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.utils import timezone
from kombu.asynchronous import Hub
from kombu.asynchronous.timer import Timer
from uuid_utils.compat import uuid7

from deliveries.conf import DeliverySettings
from deliveries.courier.clock import LONGEST_SLEEP
from deliveries.courier.courier import Courier, statistics
from deliveries.emit import emit
from deliveries.models import Attempt, Delivery
from subscriptions.conf import SubscriptionSettings, part
from subscriptions.ids import from_uuid, to_uuid
from subscriptions.models import SigningSecret
from tests.conftest import Configure, MakeEndpoint
from tests.deliveries.conftest import MakeDelivery, states
from tests.deliveries.courier.turnstile import Turnstile
from tests.processes import database_url
from tests.receiver import Answer, Receiver
from webhooks.sending.curl_sender import CurlSender

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("queue")]

MINUTE = timedelta(minutes=1)
PATIENCE = 30.0


class Ride:
    """A courier and its hub, and what it says is done."""

    def __init__(self, limit: int) -> None:
        self.hub = Hub(Timer(max_interval=10.0))  # as Celery's worker makes it
        self.sender = CurlSender(
            policy=part(SubscriptionSettings).address_policy(),
            limits=part(DeliverySettings).limits(),
            user_agent="Angarium/test",
            loop=self.hub,
        )
        self.courier = Courier(self.hub, self.sender, limit=limit)
        self.done: list[tuple[str, str | None]] = []
        """Each delivery that was done, and what its row said then."""

    def submit(self, *deliveries: str) -> None:
        for delivery in deliveries:
            self.courier.submit(to_uuid(delivery), partial(self._done, delivery))

    def _done(self, delivery: str) -> None:
        self.done.append((delivery, states().get(delivery)))

    def run_until(self, holds: Callable[[], object]) -> None:
        deadline = monotonic() + PATIENCE
        while not holds():
            assert monotonic() < deadline, f"still not so; done are {self.done}"
            # A hub that has nothing to do sleeps for a second before `holds` is asked again.
            self.hub.call_later(0.02, bool)
            self.hub.run_once()

    def run_until_done(self, count: int) -> None:
        self.run_until(lambda: len(self.done) >= count)

    def close(self) -> None:
        self.sender.close()
        self.hub.close()


StartRide = Callable[..., Ride]


@pytest.fixture
def start_ride(transactional_db: None) -> Iterator[StartRide]:
    rides = []

    def start(limit: int = 100) -> Ride:
        rides.append(Ride(limit))
        return rides[-1]

    yield start
    for ride in rides:
        ride.close()


@pytest.fixture
def ride(start_ride: StartRide) -> Ride:
    return start_ride()


def emitted(count: int) -> list[str]:
    """The deliveries of so many events."""
    for number in range(count):
        emit("invoice.paid", {"number": number})
    return sorted(Delivery.objects.filter(state="pending").values_list("pk", flat=True))


def rows_like(**columns: Any) -> int:
    return Delivery.objects.filter(**columns).count()


# What becomes of a delivery


def test_a_delivery_is_done_once_its_row_says_what_came_of_it(
    ride: Ride, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    # None waits at a gate, from where it might go back to its row.
    make_endpoint(url=receiver.url(), max_in_flight=250)
    deliveries = emitted(250)
    ride.submit(*deliveries)
    ride.run_until_done(250)
    assert sorted(ride.done) == [(delivery, "delivered") for delivery in deliveries]
    assert len(receiver.received) == Attempt.objects.count() == 250


@pytest.mark.parametrize(
    "columns",
    [
        {"state": "sending", "attempt_number": 1, "lease_expires_at": MINUTE},
        {"state": "waiting", "attempt_number": 1, "next_attempt_at": MINUTE},
        {"state": "held"},
        {"state": "delivered", "attempt_number": 1, "ended_at": -MINUTE},
        {"state": "dead", "attempt_number": 1, "ended_at": -MINUTE},
        {"state": "discarded", "ended_at": -MINUTE},
    ],
    ids=lambda columns: columns["state"],
)
def test_what_is_another_s_or_not_due_or_at_rest_is_done_and_not_sent(
    ride: Ride, make_delivery: MakeDelivery, receiver: Receiver, columns: dict[str, Any]
) -> None:
    columns = {
        name: timezone.now() + value if isinstance(value, timedelta) else value
        for name, value in columns.items()
    }
    delivery = make_delivery(endpoint={"url": receiver.url()}, **columns)
    ride.submit(delivery.pk)
    ride.run_until_done(1)
    assert ride.done == [(delivery.pk, columns["state"])]
    assert Delivery.objects.filter(pk=delivery.pk).values(*columns).get() == columns
    assert receiver.received == []


def test_a_delivery_that_was_dropped_is_done(ride: Ride) -> None:
    dropped = from_uuid("dlv", uuid7())
    ride.submit(dropped)
    ride.run_until_done(1)
    assert ride.done == [(dropped, None)]


@pytest.mark.parametrize(("endpoint", "delivery"), [("paused", "held"), ("deleted", "discarded")])
def test_one_whose_endpoint_is_not_active_is_done_and_not_sent(
    ride: Ride, make_delivery: MakeDelivery, receiver: Receiver, endpoint: str, delivery: str
) -> None:
    made = make_delivery(endpoint={"url": receiver.url(), "state": endpoint})
    ride.submit(made.pk)
    ride.run_until_done(1)
    assert ride.done == [(made.pk, delivery)]
    assert receiver.received == []


def test_a_doubled_message_sends_once(
    ride: Ride, make_delivery: MakeDelivery, receiver: Receiver, turnstile: Turnstile
) -> None:
    receiver.answers["/hook"] = turnstile
    delivery = make_delivery(endpoint={"url": receiver.url()}).pk
    ride.submit(delivery, delivery)
    ride.run_until(lambda: turnstile.inside)
    ride.submit(delivery)
    ride.run_until_done(2)
    assert ride.done == [(delivery, "sending")] * 2
    turnstile.open()
    ride.run_until_done(3)
    ride.submit(delivery)
    ride.run_until_done(4)
    assert ride.done[2:] == [(delivery, "delivered")] * 2
    assert len(receiver.received) == 1


def test_what_cannot_be_rendered_is_a_failed_attempt_and_done(
    ride: Ride, make_endpoint: MakeEndpoint, receiver: Receiver, configure: Configure
) -> None:
    configure(ENDPOINT_MAX_IN_FLIGHT=2, RETRY_SCHEDULE=[])
    make_endpoint(url=receiver.url())
    SigningSecret.objects.all().delete()
    deliveries = emitted(5)
    ride.submit(*deliveries)
    ride.run_until_done(5)
    assert sorted(ride.done) == [(delivery, "dead") for delivery in deliveries]
    assert set(Attempt.objects.values_list("outcome", flat=True)) == {"unrenderable"}
    assert receiver.received == []


# The database away


@pytest.fixture
def operator(transactional_db: None) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the test's database beside the courier's own."""
    with psycopg.connect(database_url(), autocommit=True) as operator:
        yield operator


@contextmanager
def connection_lost(operator: psycopg.Connection[Any], _: str) -> Iterator[None]:
    backend = connection.connection.info.backend_pid
    operator.execute("SELECT pg_terminate_backend(%s)", [backend])
    yield


@contextmanager
def table_missing(operator: psycopg.Connection[Any], table: str) -> Iterator[None]:
    operator.execute(f"ALTER TABLE {table} RENAME TO missing")
    try:
        yield
    finally:
        operator.execute(f"ALTER TABLE missing RENAME TO {table}")


Away = Callable[[psycopg.Connection[Any], str], AbstractContextManager[None]]
away = pytest.mark.parametrize("away", [connection_lost, table_missing])

NEEDED_TO_CLAIM = "subscriptions_signingsecret"
NEEDED_TO_RECORD = "deliveries_attempt"


@away
def test_what_could_not_be_claimed_is_claimed_when_the_database_is_back(
    ride: Ride,
    make_endpoint: MakeEndpoint,
    receiver: Receiver,
    operator: psycopg.Connection[Any],
    caplog: pytest.LogCaptureFixture,
    away: Away,
) -> None:
    make_endpoint(url=receiver.url())
    deliveries = emitted(4)
    ride.submit(*deliveries[:2])
    with away(operator, NEEDED_TO_CLAIM):
        ride.run_until(lambda: "claiming failed" in caplog.text)
        ride.submit(*deliveries[2:])
        assert (ride.done, receiver.received) == ([], [])
    ride.run_until_done(4)
    assert sorted(ride.done) == [(delivery, "delivered") for delivery in deliveries]
    assert len(receiver.received) == 4


@away
def test_what_could_not_be_recorded_holds_its_place_until_it_is_and_is_not_sent_again(
    start_ride: StartRide,
    make_endpoint: MakeEndpoint,
    receiver: Receiver,
    turnstile: Turnstile,
    operator: psycopg.Connection[Any],
    caplog: pytest.LogCaptureFixture,
    away: Away,
) -> None:
    receiver.answers["/hook"] = turnstile
    make_endpoint(url=receiver.url())
    first, second = emitted(2)
    ride = start_ride(limit=1)
    ride.submit(first, second)
    ride.run_until(lambda: turnstile.inside)
    with away(operator, NEEDED_TO_RECORD):
        turnstile.open()
        ride.run_until(lambda: "recording failed" in caplog.text)
        assert ride.done == []
        assert states() == {first: "sending", second: "pending"}
    ride.run_until_done(2)
    assert ride.done == [(first, "delivered"), (second, "delivered")]
    assert len(receiver.received) == Attempt.objects.count() == 2


# Limits


def test_no_more_are_claimed_than_may_be_in_flight(
    start_ride: StartRide, make_endpoint: MakeEndpoint, receiver: Receiver, turnstile: Turnstile
) -> None:
    receiver.answers["/hook"] = turnstile
    for _ in range(10):
        make_endpoint(url=receiver.url())
    deliveries = emitted(1)
    ride = start_ride(limit=3)
    ride.submit(*deliveries)
    ride.run_until(lambda: turnstile.inside >= 3)
    assert (rows_like(state="sending"), rows_like(state="pending")) == (3, 7)
    assert statistics(ride.courier) == {
        "submitted": 7,
        "claimed": 3,
        "waiting-for-their-turn": 0,
        "to-come-again": 0,
        "in-flight": 3,
        "waiting-at-gates": 0,
    }
    turnstile.open()
    while len(ride.done) < 10:
        ride.run_until_done(len(ride.done) + 1)
        assert rows_like(state="sending") <= 3
    assert turnstile.most == 3
    assert {state for _, state in ride.done} == {"delivered"}


def test_an_endpoint_that_asks_for_less_gets_less_at_a_time(
    start_ride: StartRide,
    make_endpoint: MakeEndpoint,
    receiver: Receiver,
    turnstile: Turnstile,
    configure: Configure,
) -> None:
    configure(CIRCUIT_FAILURE_RATE=0)
    turnstile.answer = Answer(429)
    receiver.answers["/busy"] = turnstile
    make_endpoint(url=receiver.url("/busy"), max_in_flight=8)
    ride = start_ride(limit=40)
    ride.submit(*emitted(8))
    ride.run_until(lambda: turnstile.inside == 8)
    turnstile.open()
    ride.run_until_done(8)
    turnstile.close()
    ride.submit(*emitted(8))
    ride.run_until(lambda: turnstile.inside == 4)
    assert statistics(ride.courier)["waiting-at-gates"] == 4
    turnstile.open()
    ride.run_until_done(16)


@pytest.mark.parametrize("own", [True, False], ids=["its own", "the default"])
def test_no_endpoint_has_more_in_flight_than_its_limit_and_what_is_over_it_goes_back_to_wait(
    start_ride: StartRide,
    make_endpoint: MakeEndpoint,
    receiver: Receiver,
    turnstile: Turnstile,
    configure: Configure,
    own: bool,
) -> None:
    configure(ENDPOINT_MAX_IN_FLIGHT=50 if own else 2)
    receiver.answers["/slow"] = turnstile
    slow = make_endpoint("slow.*", url=receiver.url("/slow"), max_in_flight=2 if own else None)
    quick = make_endpoint("quick.*", url=receiver.url("/quick"))
    for name in ("slow", "quick"):
        for number in range(20):
            emit(f"{name}.one", number)
    deliveries = dict(Delivery.objects.values_list("pk", "endpoint"))
    ride = start_ride(limit=22)
    ride.submit(*sorted(deliveries))
    ride.run_until(lambda: rows_like(endpoint=quick, state="delivered") == 20)
    ride.run_until(lambda: rows_like(endpoint=slow, state="waiting") >= 10)
    # They are done, so that their places are free, and no attempt was used up.
    sent_back = [one for one, state in ride.done if state == "waiting"]
    assert rows_like(pk__in=sent_back, endpoint=slow, attempt_number=0) == len(sent_back) >= 10
    assert (turnstile.inside, turnstile.most) == (2, 2)

    turnstile.open()
    ride.run_until_done(40)
    Delivery.objects.filter(state="waiting").update(next_attempt_at=timezone.now())
    back = list(Delivery.objects.filter(state="waiting").values_list("pk", flat=True))
    ride.submit(*back)
    ride.run_until_done(40 + len(back))
    assert set(states().values()) == {"delivered"}
    assert set(Attempt.objects.values_list("number", flat=True)) == {1}
    assert Counter(one.id for one in receiver.received).most_common(1)[0][1] == 1
    assert turnstile.most == 2


# Draining


def within(seconds: float) -> float:
    return monotonic() + seconds


def test_what_is_in_flight_ends_and_is_recorded_while_nothing_new_is_claimed(
    start_ride: StartRide, make_endpoint: MakeEndpoint, receiver: Receiver, turnstile: Turnstile
) -> None:
    receiver.answers["/hook"] = turnstile
    make_endpoint(url=receiver.url(), max_in_flight=1)
    *claimed, submitted, late = emitted(5)
    ride = start_ride(limit=3)
    ride.submit(*claimed, submitted)
    ride.run_until(lambda: turnstile.inside)
    ride.hub.call_later(0, ride.submit, late)
    ride.hub.call_later(0.1, turnstile.open)
    ride.courier.drain(within(PATIENCE))
    assert ride.done == [(delivery, "delivered") for delivery in claimed]
    assert rows_like(pk__in=[submitted, late], state="pending", attempt_number=0) == 2
    assert len(receiver.received) == 3


def test_what_does_not_end_in_time_is_put_back_and_not_done(
    start_ride: StartRide, make_endpoint: MakeEndpoint, receiver: Receiver, turnstile: Turnstile
) -> None:
    receiver.answers["/hook"] = turnstile
    make_endpoint(url=receiver.url(), max_in_flight=1)
    deliveries = emitted(3)
    ride = start_ride(limit=2)
    ride.submit(*deliveries)
    ride.run_until(lambda: turnstile.inside)
    ride.courier.drain(within(0.1))
    assert ride.done == []
    assert rows_like(pk__in=deliveries[:2], state="waiting", attempt_number=0) == 2
    assert states()[deliveries[2]] == "pending"

    turnstile.open()
    heir = start_ride()
    heir.submit(*deliveries)
    heir.run_until_done(3)
    assert sorted(heir.done) == [(delivery, "delivered") for delivery in deliveries]
    assert set(Attempt.objects.values_list("number", flat=True)) == {1}


def test_what_has_ended_when_time_is_up_is_still_recorded(
    ride: Ride, make_endpoint: MakeEndpoint, receiver: Receiver, turnstile: Turnstile
) -> None:
    receiver.answers["/slow"] = turnstile
    make_endpoint(url=receiver.url("/slow"))
    make_endpoint(url=receiver.url("/quick"))
    ride.submit(*emitted(1))
    ride.run_until(lambda: ride.courier.ended)
    ride.courier.drain(within(0))
    assert [state for _, state in ride.done] == ["delivered"]
    assert sorted(states().values()) == ["delivered", "waiting"]


def test_draining_does_not_outlast_its_time_for_a_timer_that_is_due_later(
    ride: Ride, make_delivery: MakeDelivery, receiver: Receiver, turnstile: Turnstile
) -> None:
    receiver.answers["/hook"] = turnstile
    ride.submit(make_delivery(endpoint={"url": receiver.url()}).pk)
    ride.run_until(lambda: turnstile.inside)
    ride.hub.call_later(4, pytest.fail)
    due = within(4)
    ride.courier.drain(within(0.1))
    assert monotonic() < due


def refuse(*_: object) -> None:
    raise ConnectionResetError("the broker is gone")


@contextmanager
def a_callback_that_fails(hub: Hub) -> Iterator[None]:
    hub.call_later(0.05, hub.call_soon, refuse)
    yield


@contextmanager
def a_reader_that_fails_again_and_again(hub: Hub) -> Iterator[None]:
    ready, peer = socketpair()
    with ready, peer:
        peer.send(b"x")
        hub.add_reader(ready.fileno(), refuse)
        yield


@contextmanager
def a_poller_that_is_closed(hub: Hub) -> Iterator[None]:
    """Which ends the loop as if it had nothing more to do."""
    hub.call_later(0.05, hub.poller.close)
    yield


@contextmanager
def a_loop_that_was_reset(hub: Hub) -> Iterator[None]:
    """As Celery leaves it that is told to end while the broker is lost."""
    hub.reset()
    yield


@pytest.mark.parametrize(
    "breaking",
    [
        a_callback_that_fails,
        a_reader_that_fails_again_and_again,
        a_poller_that_is_closed,
        a_loop_that_was_reset,
    ],
)
def test_draining_goes_on_though_the_loop_breaks(
    ride: Ride,
    make_endpoint: MakeEndpoint,
    receiver: Receiver,
    turnstile: Turnstile,
    breaking: Callable[[Hub], AbstractContextManager[None]],
) -> None:
    receiver.answers["/hook"] = turnstile
    make_endpoint(url=receiver.url())
    deliveries = emitted(3)
    ride.submit(*deliveries)
    ride.run_until(lambda: turnstile.inside == 3)
    with breaking(ride.hub):
        ride.hub.call_later(0.2, turnstile.open)
        ride.courier.drain(within(PATIENCE))
    assert sorted(ride.done) == [(delivery, "delivered") for delivery in deliveries]


def test_what_can_neither_be_recorded_nor_put_back_is_left_to_the_sweep(
    ride: Ride,
    make_endpoint: MakeEndpoint,
    receiver: Receiver,
    turnstile: Turnstile,
    operator: psycopg.Connection[Any],
) -> None:
    receiver.answers["/slow"] = turnstile
    make_endpoint(url=receiver.url("/slow"))
    make_endpoint(url=receiver.url("/quick"))
    deliveries = emitted(1)
    ride.submit(*deliveries)
    ride.run_until(lambda: ride.courier.ended and turnstile.inside)
    with table_missing(operator, "deliveries_delivery"):
        ride.courier.drain(within(0.1))
    assert ride.done == []
    assert rows_like(state="sending", lease_expires_at__isnull=False) == 2


# The loop reset, as Celery does when the broker is lost


def forgets_its_readers(hub: Hub) -> None:
    hub.reset()


def forgets_everything(hub: Hub) -> None:
    hub.reset()
    hub.timer.clear()


forgetting = pytest.mark.parametrize("forget", [forgets_its_readers, forgets_everything])


@forgetting
@pytest.mark.parametrize("moment", ["claiming", "in flight", "recording"])
def test_what_was_under_way_goes_on_after_the_loop_was_reset_and_new_ones_are_taken(
    ride: Ride,
    make_endpoint: MakeEndpoint,
    receiver: Receiver,
    turnstile: Turnstile,
    forget: Callable[[Hub], None],
    moment: str,
) -> None:
    receiver.answers["/slow"] = turnstile
    make_endpoint(url=receiver.url("/slow"))
    make_endpoint(url=receiver.url("/quick"))
    *deliveries, third, fourth = emitted(2)
    ride.submit(*deliveries)
    if moment == "in flight":
        ride.run_until(lambda: turnstile.inside)
    elif moment == "recording":
        ride.run_until(lambda: ride.courier.ended)
    forget(ride.hub)
    ride.courier.resume()
    turnstile.open()
    ride.run_until_done(2)
    ride.submit(third, fourth)
    ride.run_until_done(4)
    assert {state for _, state in ride.done} == {"delivered"}
    assert len(receiver.received) == 4


@forgetting
def test_a_reset_between_a_failure_and_the_next_try_does_no_harm(
    ride: Ride,
    make_endpoint: MakeEndpoint,
    receiver: Receiver,
    operator: psycopg.Connection[Any],
    caplog: pytest.LogCaptureFixture,
    forget: Callable[[Hub], None],
) -> None:
    make_endpoint(url=receiver.url())
    ride.submit(*emitted(1))
    with table_missing(operator, NEEDED_TO_RECORD):
        ride.run_until(lambda: "recording failed" in caplog.text)
        forget(ride.hub)
    ride.courier.resume()
    ride.run_until_done(1)
    assert len(receiver.received) == Attempt.objects.count() == 1


@forgetting
def test_the_gates_are_kept_after_the_loop_was_reset(
    ride: Ride,
    make_endpoint: MakeEndpoint,
    receiver: Receiver,
    turnstile: Turnstile,
    forget: Callable[[Hub], None],
) -> None:
    receiver.answers["/hook"] = turnstile
    make_endpoint(url=receiver.url(), max_in_flight=1)
    ride.submit(*emitted(20))
    ride.run_until(lambda: turnstile.inside)
    forget(ride.hub)
    ride.courier.resume()
    ride.run_until(lambda: rows_like(state="waiting", attempt_number=0) >= 10)


def test_a_loop_that_was_held_up_takes_no_endpoint_for_slow(
    ride: Ride, make_endpoint: MakeEndpoint, receiver: Receiver, turnstile: Turnstile
) -> None:
    receiver.answers["/hook"] = turnstile
    make_endpoint(url=receiver.url(), max_in_flight=1)
    ride.submit(*emitted(10))
    ride.run_until(lambda: turnstile.inside)
    turnstile.open()
    sleep(3 * LONGEST_SLEEP)
    ride.run_until_done(10)
    assert rows_like(state="delivered") == 10


# Endpoints that have a rate


def test_what_is_beyond_a_rate_goes_back_and_comes_again_when_its_turn_does(
    ride: Ride, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    make_endpoint(url=receiver.url(), rate="10/s", burst=2)
    deliveries = emitted(20)
    ride.submit(*deliveries)
    ride.run_until_done(8)  # two at once, and those that go back
    went_back = [one for one, state in ride.done if state == "waiting"]
    assert len(went_back) >= 6
    assert ride.courier.claimed <= 12
    ride.run_until(lambda: rows_like(state="delivered") == 20)
    assert set(Delivery.objects.values_list("attempt_number", flat=True)) == {1}
    assert len(receiver.received) == 20


def test_those_who_wait_for_their_turn_hold_up_nobody(
    start_ride: StartRide, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    make_endpoint("slow", url=receiver.url("/slow"), rate="4/s", burst=1)
    make_endpoint("free", url=receiver.url("/free"))
    slow, free = (
        [emit(event_type, n).deliveries.get().pk for n in range(10)]
        for event_type in ("slow", "free")
    )
    ride = start_ride(limit=2)
    ride.submit(*slow, *free)
    ride.run_until(lambda: sum(one.path == "/free" for one in receiver.received) == 10)
    assert sum(one.path == "/slow" for one in receiver.received) < 10
    ride.run_until(lambda: rows_like(state="delivered") == 20)


def test_what_is_to_come_again_is_left_to_the_sweep_when_the_worker_ends(
    ride: Ride, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    make_endpoint(url=receiver.url(), rate="1/m")
    ride.submit(*emitted(3))
    ride.run_until(lambda: rows_like(state="delivered") == 1 and rows_like(state="waiting") == 2)
    assert rows_like(state="waiting", rung_at=None) == 0
    ride.courier.drain(until=monotonic() + 5)
    assert rows_like(state="waiting", rung_at=None) == 2
    assert ride.courier.claimed == 0
