"""What an endpoint asks for is set, and tried before, by the rules that the API has."""

import pytest

from deliveries.emit import emit
from subscriptions.models import Endpoint, EventType, Subscriber, Subscription
from tests.conftest import MakeEndpoint
from tests.deliveries.portal.conftest import Visitor
from tests.deliveries.portal.test_endpoints import faults

pytestmark = pytest.mark.django_db


@pytest.fixture
def endpoint(make_endpoint: MakeEndpoint) -> Endpoint:
    return make_endpoint("invoice.*")


def test_a_subscription_is_added(visitor: Visitor, endpoint: Endpoint) -> None:
    asked = {"pattern": "carpet.*", "channels": "eu,asia, eu", "filter": "knots > `500`"}
    answer = visitor.post(f"endpoints/{endpoint.pk}/subscribe/", **asked, enabled="on")
    assert answer.headers["Location"] == f"/portal/endpoints/{endpoint.pk}/?done=subscribed"
    made = Subscription.objects.get(pattern="carpet.*")
    assert (made.endpoint, made.channels, made.filter) == (
        endpoint,
        ["asia", "eu"],
        "knots > `500`",
    )


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ({"pattern": "no good"}, "pattern"),
        ({"pattern": "a.b", "channels": "n o"}, "channels"),
        ({"pattern": "a.b", "filter": "amount >"}, "filter"),
    ],
)
def test_what_is_no_good_is_said_next_to_its_field(
    visitor: Visitor, endpoint: Endpoint, asked: dict[str, str], wrong: str
) -> None:
    answer = visitor.post(f"endpoints/{endpoint.pk}/subscribe/", **asked)
    assert (answer.status_code, faults(answer)) == (422, {wrong})


def test_nothing_is_asked_for_twice(visitor: Visitor, endpoint: Endpoint) -> None:
    answer = visitor.post(f"endpoints/{endpoint.pk}/subscribe/", pattern="invoice.*")
    assert answer.status_code == 422
    assert "has such a subscription already" in answer.content.decode()


def test_an_event_type_that_is_for_others_cannot_be_asked_for(
    visitor: Visitor, endpoint: Endpoint
) -> None:
    EventType.objects.create(name="trial.made", feature_flag="trial")
    answer = visitor.post(f"endpoints/{endpoint.pk}/subscribe/", pattern="trial.made")
    assert "There is no event type trial.made" in answer.content.decode()


def test_a_changed_filter_begins_to_count_its_failures_anew(
    visitor: Visitor, endpoint: Endpoint
) -> None:
    Subscription.objects.update(filter="a > `1`", filter_failures=3, filter_error="no number")
    subscription = endpoint.subscriptions.get()
    assert "no number" in visitor.says(f"subscriptions/{subscription.pk}/")
    changed = {"pattern": "other.*", "filter": "a > `2`"}
    answer = visitor.post(f"subscriptions/{subscription.pk}/", **changed)
    assert answer.status_code == 302
    subscription.refresh_from_db()
    assert (subscription.pattern, subscription.filter) == ("invoice.*", "a > `2`")
    assert (subscription.filter_failures, subscription.enabled) == (0, False)


def test_a_filter_is_tried_on_an_example_and_nothing_is_saved(
    visitor: Visitor, endpoint: Endpoint
) -> None:
    asked = {"pattern": "carpet.*", "filter": "knots > `500`", "try": "1"}
    example = {"event_type": "carpet.woven", "event_data": '{"knots": 640}'}
    at = f"endpoints/{endpoint.pk}/subscribe/"
    page = visitor.post(at, **asked, **example).content.decode()
    assert "<strong>gets</strong>" in page
    page = visitor.post(at, **asked, **{**example, "event_data": '{"knots": 5}'}).content.decode()
    assert "<strong>does not get</strong>" in page
    assert "The filter is not true for this event." in page
    assert faults(visitor.post(at, **asked, **{**example, "event_data": "{"})) == {"event_data"}
    assert Subscription.objects.count() == 1


def test_a_subscription_is_tried_on_one_s_own_last_events_alone(
    visitor: Visitor, endpoint: Endpoint
) -> None:
    other = Subscriber.objects.create(name="Croesus")
    ours = emit("invoice.paid", {"n": 1}, subscriber=visitor.subscriber)
    theirs = emit("invoice.paid", {"n": 2}, subscriber=other)
    subscription = endpoint.subscriptions.get()
    page = visitor.post(f"subscriptions/{subscription.pk}/", **{"try": "1"}).content.decode()
    assert ours.pk in page
    assert theirs.pk not in page
