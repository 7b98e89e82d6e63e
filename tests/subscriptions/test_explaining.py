from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from subscriptions.explaining import SENTENCES, Occurrence, Reason, explain
from subscriptions.filtering import sift
from subscriptions.matching import endpoints_matching
from subscriptions.models import Endpoint, Subscriber, Subscription

PAID = Occurrence("invoice.paid", ["eu"], {"amount": 120})


@pytest.mark.parametrize(
    ("asked", "reason", "matched"),
    [
        ({"pattern": "invoice.paid"}, Reason.MATCHED, True),
        ({"pattern": "invoice.*"}, Reason.MATCHED, True),
        ({"pattern": "*", "channels": ["eu", "us"]}, Reason.MATCHED, True),
        ({"pattern": "*", "filter": "amount > `100`"}, Reason.MATCHED, True),
        ({"pattern": "*", "filter": "sum(amount)"}, Reason.FILTER_FAILED, True),
        ({"pattern": "*", "enabled": False}, Reason.DISABLED, False),
        ({"pattern": "order.*"}, Reason.TYPE, False),
        ({"pattern": "*", "channels": ["us"]}, Reason.CHANNEL, False),
        ({"pattern": "*", "filter": "amount > `200`"}, Reason.FILTER, False),
        ({"pattern": "order.*", "channels": ["us"], "filter": "`false`"}, Reason.TYPE, False),
    ],
)
def test_a_subscription_gets_an_event_or_not_by_one_rule(
    asked: dict[str, Any], reason: Reason, matched: bool
) -> None:
    explanation = explain(PAID, Subscription(**asked))
    assert (explanation.reason, explanation.matched) == (reason, matched)
    assert (explanation.verdict is None) == ("filter" not in asked or reason == Reason.TYPE)


def test_an_event_on_no_channel_is_not_for_who_asks_for_some() -> None:
    event = Occurrence("invoice.paid", [], {})
    assert explain(event, Subscription(pattern="*", channels=["eu"])).reason == Reason.CHANNEL
    assert explain(event, Subscription(pattern="*")).matched


def test_every_reason_can_be_told() -> None:
    assert set(SENTENCES) == set(Reason)


FEW = st.sampled_from
WISHES = st.fixed_dictionaries(
    {
        "pattern": FEW(["a", "a.b", "a.*", "*", "b.*"]),
        "channels": st.lists(FEW(["eu", "us", "x"]), unique=True, max_size=2).map(sorted),
        "filter": FEW(["", "n > `1`", "n == `1`", "sum(n)", "missing"]),
        "enabled": st.booleans(),
    }
)
EVENTS = st.builds(
    Occurrence,
    FEW(["a", "a.b", "a.b.c", "b"]),
    st.lists(FEW(["eu", "us", "z"]), unique=True, max_size=2),
    st.fixed_dictionaries({"n": st.integers(0, 2)}),
)


@pytest.mark.django_db
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(wishes=st.lists(WISHES, max_size=4, unique_by=str), event=EVENTS)
def test_what_is_explained_is_what_happens(
    subscriber: Subscriber, wishes: list[dict[str, Any]], event: Occurrence
) -> None:
    Endpoint.objects.all().delete()
    endpoint = Endpoint.objects.create(subscriber=subscriber, url="https://example.com/")
    made = [Subscription(endpoint=endpoint, **wish) for wish in wishes]
    Subscription.objects.bulk_create(made, ignore_conflicts=True)
    matches = endpoints_matching(
        event.type, subscriber=subscriber.pk, channels=event.channels, limit=10
    )
    gets_it = bool(sift(matches, lambda: event.data).passing)
    explained = [explain(event, one) for one in endpoint.subscriptions.all()]
    assert gets_it == any(explanation.matched for explanation in explained)
