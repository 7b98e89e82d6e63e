"""Turns in the plain lane, where whoever waits keeps a slot from others."""

from uuid import UUID

import pytest

from deliveries import bell, plain_lane, turns
from deliveries.emit import emit
from deliveries.models import Attempt, Delivery
from deliveries.pace import Pace
from subscriptions.ids import to_uuid
from subscriptions.models import Endpoint
from tests.conftest import MakeEndpoint
from tests.receiver import Receiver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("queue")]


@pytest.fixture
def endpoint(make_endpoint: MakeEndpoint, receiver: Receiver) -> Endpoint:
    return make_endpoint(url=receiver.url(), rate="11/s", burst=1)


def has_its_turn_taken(endpoint: Endpoint) -> UUID:
    """A delivery to an endpoint, the turn of which another has taken just now."""
    delivery = Delivery.objects.get(event=emit("turn.taken", None))
    pace = Pace.of(endpoint.rate, endpoint.burst)
    turns.take(turns.SENDING, [turns.Ask(to_uuid(endpoint.pk), pace, 1)], patience=0.0)
    return to_uuid(delivery.pk)


def goes_back(endpoint: Endpoint) -> tuple[UUID, float]:
    """A delivery that had to go back, and for how long; of several, as the turn is soon there."""
    for _ in range(50):
        delivery = has_its_turn_taken(endpoint)
        if (wait := plain_lane.deliver(delivery)) is not None:
            return delivery, wait
    raise AssertionError("none went back")


def test_not_even_a_turn_that_is_near_is_waited_for(endpoint: Endpoint) -> None:
    delivery, wait = goes_back(endpoint)
    assert 0 < wait < bell.punctuality()
    went_back = Delivery.objects.get(pk=delivery)
    assert (went_back.state, went_back.attempt_number) == ("waiting", 0)
    assert not Attempt.objects.filter(delivery=delivery).exists()


def test_one_that_comes_again_a_moment_too_early_has_its_turn(
    endpoint: Endpoint, receiver: Receiver
) -> None:
    delivery, _ = goes_back(endpoint)
    assert plain_lane.deliver(delivery, waited=True) is None
    assert Delivery.objects.get(pk=delivery).state == "delivered"


def test_one_that_comes_again_much_too_early_goes_back(
    endpoint: Endpoint, receiver: Receiver
) -> None:
    endpoint.rate = "1/m"
    endpoint.save()
    wait = plain_lane.deliver(has_its_turn_taken(endpoint), waited=True)
    assert wait == pytest.approx(60, abs=5)
    assert receiver.received == []
