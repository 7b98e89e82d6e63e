"""An endpoint that fails, comes back, or bears no more than so many requests a second."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from deliveries.emit import emit
from deliveries.models import Attempt, DeadLetter, Delivery
from subscriptions.models import Endpoint
from tests import processes
from tests.conftest import MakeEndpoint
from tests.processes import Process, wait_until
from tests.receiver import Answer, Received, Receiver, most_in

pytestmark = pytest.mark.django_db(transaction=True)

BREAKER = {
    "ANGARIUM_CIRCUIT_FAILURE_RATE": "0.5",
    "ANGARIUM_CIRCUIT_RESULTS": "5",
    "ANGARIUM_CIRCUIT_WAIT": "1",
    "ANGARIUM_CIRCUIT_WAIT_MAX": "2",
    "ANGARIUM_RELEASE_RATE": "20/s",
    # A delivery must not be dead before the endpoint is back.
    "ANGARIUM_RETRY_SCHEDULE": ",".join(["1"] * 20),
}


@pytest.fixture
def two_workers(transactional_db: None, tmp_path: Path, lane: str) -> Iterator[list[Process]]:
    with (
        processes.worker(tmp_path / "1.log", "--hostname", "one@here", LANE=lane, **BREAKER) as one,
        processes.worker(tmp_path / "2.log", "--hostname", "two@here", LANE=lane, **BREAKER) as two,
    ):
        yield [one, two]


class Flapping:
    """Fails while it is `broken`, and notes when each request came."""

    def __init__(self) -> None:
        self.broken = True
        self.times: list[tuple[float, int]] = []

    def __call__(self, request: Received, number: int) -> Answer:
        status = 503 if self.broken else 200
        self.times.append((time.monotonic(), status))
        return Answer(status)

    def came(self, status: int) -> list[float]:
        return [when for when, answered in self.times if answered == status]


def circuit() -> str:
    return Endpoint.objects.get().circuit


def test_a_broken_endpoint_is_left_alone_probed_and_gets_everything_when_it_is_back(
    two_workers: list[Process], beat: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    endpoint = receiver.answers["/hook"] = Flapping()
    make_endpoint(url=receiver.url())
    emitted = {emit("invoice.paid", number).pk for number in range(40)}
    wait_until(lambda: circuit() != "closed", "the circuit to open")
    wait_until(lambda: Endpoint.objects.get().openings >= 3, "probes that fail")
    wait_until(lambda: Delivery.objects.filter(state="held").count() >= 38, "the others to be held")
    meanwhile = {emit("invoice.paid", number).pk for number in range(20)}
    emitted |= meanwhile
    failed = len(endpoint.came(503))

    endpoint.broken = False
    wait_until(lambda: circuit() == "closed", "a probe that succeeds")
    wait_until(lambda: not Delivery.objects.filter(ended_at=None).exists(), "all to be delivered")
    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}
    assert not DeadLetter.objects.exists()
    assert {request.id for request in receiver.received} == emitted
    delivered = endpoint.came(200)
    assert len(delivered) == 60  # none of them twice
    # One burst of a second's worth, then twenty a second.
    assert most_in(1.0, delivered) <= 20 + 20 + 5
    # The first came before the circuit was open; from then on there were probes alone.
    assert failed <= 40 + 3 + 5
    # To be held uses up no attempt.
    held = Delivery.objects.filter(event__in=meanwhile)
    assert set(held.values_list("attempt_number", flat=True)) == {1}
    assert Attempt.objects.exclude(outcome="delivered").count() == len(endpoint.came(503))


def test_an_endpoint_with_a_rate_gets_no_more_and_holds_up_no_other(
    two_workers: list[Process], beat: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    limited = receiver.answers["/limited"] = Flapping()
    limited.broken = False
    make_endpoint("limited", url=receiver.url("/limited"), rate="10/s", burst=5)
    make_endpoint("free", url=receiver.url("/free"))
    for number in range(60):
        emit("limited", number)
    emitted = time.monotonic()
    for number in range(20):
        emit("free", number)
    receiver.wait_for(20, path="/free")
    assert len(limited.came(200)) < 50  # the other is done long before
    receiver.wait_for(60, path="/limited")
    wait_until(lambda: not Delivery.objects.filter(ended_at=None).exists(), "the record")

    came = limited.came(200)
    assert len(came) == 60
    assert most_in(1.0, came) <= 10 + 5 + 3
    assert came[-1] - came[0] >= (60 - 5) / 10 - 1
    assert time.monotonic() - emitted < 40
    # Putting a delivery back uses up no attempt, and none is sent twice.
    assert set(Delivery.objects.values_list("attempt_number", flat=True)) == {1}
    assert set(Counter(request.id for request in receiver.received).values()) == {1}
