"""Turns in the plain lane, where whoever waits keeps a slot from others."""

from collections.abc import Callable
from itertools import count
from uuid import UUID

import pytest

from deliveries import bell, plain_lane, turns
from deliveries.emit import emit
from deliveries.models import Attempt, Delivery
from deliveries.pace import Pace
from subscriptions.ids import to_uuid
from tests.conftest import MakeEndpoint
from tests.receiver import Receiver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("queue")]


@pytest.fixture
def limited(make_endpoint: MakeEndpoint, receiver: Receiver) -> Callable[..., UUID]:
    """A delivery to a new endpoint with a rate, whose turn another has taken just now."""
    number = count()

    def make(rate: str) -> UUID:
        type_ = f"turn.taken_{next(number)}"
        endpoint = make_endpoint(type_, url=receiver.url(), rate=rate, burst=1)
        delivery = Delivery.objects.get(event=emit(type_, None))
        ask = turns.Ask(to_uuid(endpoint.pk), Pace.of(rate, 1), 1)
        turns.take(turns.SENDING, [ask], patience=0.0)
        return to_uuid(delivery.pk)

    return make


@pytest.fixture
def gone_back(limited: Callable[..., UUID]) -> tuple[UUID, float]:
    """A delivery that had to go back, and for how long."""
    for _ in range(50):  # the turn is there soon
        delivery = limited("11/s")
        if (wait := plain_lane.deliver(delivery)) is not None:
            return delivery, wait
    raise AssertionError("none went back")


def test_not_even_a_turn_that_is_near_is_waited_for(gone_back: tuple[UUID, float]) -> None:
    delivery, wait = gone_back
    assert 0 < wait < bell.punctuality()
    its_row = Delivery.objects.get(pk=delivery)
    assert (its_row.state, its_row.attempt_number) == ("waiting", 0)
    assert not Attempt.objects.filter(delivery=delivery).exists()


def test_one_that_comes_again_a_moment_too_early_has_its_turn(
    gone_back: tuple[UUID, float],
) -> None:
    delivery, _ = gone_back
    assert plain_lane.deliver(delivery, waited=True) is None
    assert Delivery.objects.get(pk=delivery).state == "delivered"


def test_one_that_comes_again_much_too_early_goes_back(
    limited: Callable[..., UUID], receiver: Receiver
) -> None:
    wait = plain_lane.deliver(limited("1/m"), waited=True)
    assert wait == pytest.approx(60, abs=5)
    assert receiver.received == []
