from typing import Any

import pytest

from deliveries.explaining.rules import Rule, decide
from subscriptions.history import HistoryEntry
from subscriptions.ids import new_id
from subscriptions.models import Endpoint, Subscriber, Subscription
from tests.deliveries.explaining.conftest import MakeFacts, after


def subscription(pattern: str, **fields: Any) -> Subscription:
    return Subscription(pattern=pattern, **{"created_at": after(-50), **fields})


def changed(subscription: Subscription, **fields: Any) -> HistoryEntry:
    return HistoryEntry(
        kind="subscription",
        action="changed",
        object_id=subscription.pk,
        at=after(5),
        actor_kind="user",
        actor_id="1",
        actor_name="jamshid",
        **fields,
    )


def test_a_delivery_names_the_subscription_and_its_terms(make_facts: MakeFacts) -> None:
    asks = subscription("invoice.*", filter="amount > `10`")
    found = decide(make_facts("pending", subscriptions=[subscription("order.*"), asks]))
    assert (found.rule, found.matched) == (Rule.MATCHED, True)
    assert found.sentence == (
        f"{asks.pk} asks for it: its pattern is “invoice.*”, its filter is amount > `10`."
    )


def test_a_delivery_stays_one_though_nothing_asks_for_it_any_more(make_facts: MakeFacts) -> None:
    found = decide(make_facts("pending", subscriptions=[]))
    assert found.rule is Rule.MATCHED
    assert "when it was emitted" in found.sentence


@pytest.mark.parametrize(
    ("pattern", "fields", "sentence"),
    [
        ("order.*", {}, "The pattern does not match the type of the event."),
        (
            "*",
            {"channels": ["eu"]},
            "The event is on none of the subscription's channels.",
        ),
        ("*", {"filter": "amount > `100`"}, "The filter is not true for this event."),
        ("*", {"enabled": False}, "The subscription is switched off."),
    ],
)
def test_one_subscription_that_does_not_ask_says_why(
    make_facts: MakeFacts, pattern: str, fields: dict[str, Any], sentence: str
) -> None:
    found = decide(make_facts(subscriptions=[subscription(pattern, **fields)]))
    assert (found.rule, found.matched) == (Rule.NOT_ASKED_FOR, False)
    assert found.sentence == sentence


def test_of_several_each_says_why(make_facts: MakeFacts) -> None:
    found = decide(
        make_facts(subscriptions=[subscription("order.*"), subscription("*", enabled=False)])
    )
    assert found.sentence == "None of the endpoint's 2 subscriptions asks for the event."
    assert [str(asked.wish.reason) for asked in found.subscriptions] == ["type", "disabled"]


def test_a_subscription_that_was_made_after_the_event_explains_the_miss(
    make_facts: MakeFacts,
) -> None:
    late = subscription("*", created_at=after(60))
    found = decide(make_facts(subscriptions=[late]))
    assert found.rule is Rule.CHANGED_SINCE
    assert found.sentence == (
        f"{late.pk} asks for it, but was made after the event had been emitted."
    )
    assert found.subscriptions[0].changed_at == after(60)


def test_a_subscription_that_was_changed_after_the_event_tells_how_and_by_whom(
    make_facts: MakeFacts,
) -> None:
    asks = subscription("*")
    entry = changed(asks, changes={"pattern": ["order.*", "*"]})
    found = decide(make_facts(subscriptions=[asks], history=[entry]))
    assert found.rule is Rule.CHANGED_SINCE
    assert found.subscriptions[0].changed_at == after(5)
    assert found.subscriptions[0].change == "pattern: order.* → * (by jamshid)"


@pytest.mark.parametrize(
    ("own_keys", "entry", "who"),
    [
        (None, ("user", "1", "jamshid"), "jamshid"),
        (frozenset({"abc"}), ("user", "1", "jamshid"), "a person"),
        (frozenset({"abc"}), ("api_key", "abc", "ours"), "ours (API key abc)"),
        (frozenset({"abc"}), ("api_key", "xyz", "theirs"), "another API key"),
        (frozenset({"abc"}), ("angarium", "", ""), "Angarium"),
    ],
)
def test_a_subscriber_learns_of_its_own_keys_alone_who_they_are(
    make_facts: MakeFacts, own_keys: Any, entry: tuple[str, str, str], who: str
) -> None:
    row = HistoryEntry(**dict(zip(("actor_kind", "actor_id", "actor_name"), entry, strict=True)))
    assert make_facts(own_keys=own_keys).who(row) == who


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        (Rule.FAN_OUT, {"is_reached": False}),
        (Rule.ENDPOINT_LATER, {"endpoint": {"created_at": after(1)}}),
        (Rule.ENDPOINT_DELETED, {"endpoint": {"state": Endpoint.State.DELETED}}),
        (Rule.FEATURE_FLAG, {"missing_flag": "beta"}),
        (Rule.NO_SUBSCRIPTION, {"subscriptions": []}),
    ],
)
def test_what_lies_not_with_a_subscription(
    make_facts: MakeFacts, rule: Rule, options: dict[str, Any]
) -> None:
    assert decide(make_facts(**options)).rule is rule


def test_an_event_for_another_subscriber(make_facts: MakeFacts) -> None:
    facts = make_facts()
    facts.event.subscriber = Subscriber(id=new_id("sub"), name="Croesus")
    assert decide(facts).rule is Rule.SUBSCRIBER
    facts.event.subscriber = facts.endpoint.subscriber
    assert decide(facts).rule is Rule.CHANGED_SINCE
