import pytest

from subscriptions.ids import to_uuid
from subscriptions.matching import endpoints_matching
from subscriptions.models import Endpoint, Subscriber
from tests.conftest import MakeEndpoint

pytestmark = pytest.mark.django_db


def matched(event_type: str, subscriber: Subscriber | None = None) -> set[str]:
    matches = endpoints_matching(event_type, subscriber=subscriber and subscriber.pk, limit=1000)
    return {f"ep_{match.endpoint.hex}" for match in matches}


def test_exact_prefix_and_catch_all_patterns_match(make_endpoint: MakeEndpoint) -> None:
    exact = make_endpoint("invoice.paid")
    prefix = make_endpoint("invoice.*")
    everything = make_endpoint("*")
    make_endpoint("invoice.voided")
    make_endpoint("order.*")
    assert matched("invoice.paid") == {exact.pk, prefix.pk, everything.pk}
    assert matched("invoice.paid.late") == {prefix.pk, everything.pk}
    assert matched("invoice") == {everything.pk}


def test_an_endpoint_with_several_matching_subscriptions_gets_the_event_once(
    make_endpoint: MakeEndpoint,
) -> None:
    make_endpoint("invoice.paid", "invoice.*", "*")
    assert len(endpoints_matching("invoice.paid", subscriber=None, limit=10)) == 1


def test_a_subscription_that_is_off_asks_for_nothing(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint("invoice.paid")
    endpoint.subscriptions.update(enabled=False)
    assert matched("invoice.paid") == set()


def test_paused_and_disabled_endpoints_match_and_deleted_ones_do_not(
    make_endpoint: MakeEndpoint,
) -> None:
    paused = make_endpoint(state=Endpoint.State.PAUSED)
    disabled = make_endpoint(state=Endpoint.State.DISABLED)
    make_endpoint(state=Endpoint.State.DELETED)
    assert matched("any") == {paused.pk, disabled.pk}


def test_an_event_of_one_subscriber_reaches_nobody_else(make_endpoint: MakeEndpoint) -> None:
    other = Subscriber.objects.create(name="Croesus")
    make_endpoint()
    theirs = make_endpoint(owner=other)
    assert matched("any", other) == {theirs.pk}
    assert len(matched("any")) == 2


@pytest.mark.parametrize(
    ("asked", "channels", "gets_it"),
    [
        ([], None, True),
        ([], ["eu"], True),
        (["eu"], None, False),
        (["eu"], [], False),
        (["eu"], ["us"], False),
        (["eu", "us"], ["us", "asia"], True),
    ],
)
def test_who_asks_for_channels_gets_events_that_share_one(
    make_endpoint: MakeEndpoint, asked: list[str], channels: list[str] | None, gets_it: bool
) -> None:
    endpoint = make_endpoint("invoice.*")
    endpoint.subscriptions.update(channels=asked)
    matches = endpoints_matching("invoice.paid", subscriber=None, channels=channels, limit=10)
    assert bool(matches) == gets_it


def test_a_match_has_the_filters_of_its_subscriptions_unless_one_has_none(
    make_endpoint: MakeEndpoint,
) -> None:
    free, filtered = make_endpoint("invoice.*", "*"), make_endpoint("invoice.*", "*", "order.*")
    free.subscriptions.filter(pattern="*").update(filter="a")
    filtered.subscriptions.update(filter="b")
    matches = endpoints_matching("invoice.paid", subscriber=None, limit=10)
    asking = filtered.subscriptions.exclude(pattern="order.*")
    assert [match.filters for match in matches] == [
        None,
        {str(to_uuid(subscription.pk)): "b" for subscription in asking},
    ]


def test_what_channels_and_filters_say_does_not_change_the_pages(
    make_endpoint: MakeEndpoint,
) -> None:
    for _ in range(3):
        endpoint = make_endpoint("a", "a.*", "*")
        endpoint.subscriptions.update(filter="x", channels=["eu"])
    for limit in (1, 2, 3):
        page = endpoints_matching("a", subscriber=None, channels=["eu"], limit=limit)
        assert len(page) == limit


def test_many_endpoints_are_walked_in_pages(make_endpoint: MakeEndpoint) -> None:
    made = [to_uuid(make_endpoint().pk) for _ in range(7)]
    seen, after = [], None
    while page := endpoints_matching("any", subscriber=None, limit=3, after=after):
        assert len(page) <= 3
        seen += [match.endpoint for match in page]
        after = page[-1].endpoint
    assert seen == made
