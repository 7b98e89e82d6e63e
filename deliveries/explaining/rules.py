"""Whether an endpoint gets an event, and by which rule. Pure.

The rules are those of subscriptions.matching and of the fan-out, said of one endpoint. They are
asked as things are now; where something was changed since the event, that is told beside it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from deliveries.explaining.facts import Facts
from subscriptions.explaining import Explanation as Wish
from subscriptions.explaining import Occurrence, explain
from subscriptions.history import HistoryEntry
from subscriptions.models import Endpoint, Subscription


class Rule(StrEnum):
    """What decided whether there is a delivery."""

    MATCHED = "matched"
    FAN_OUT = "fan_out"
    """The deliveries of the event are still being made."""
    SUBSCRIBER = "subscriber"
    ENDPOINT_DELETED = "endpoint_deleted"
    ENDPOINT_LATER = "endpoint_later"
    """The endpoint was made after the event."""
    FEATURE_FLAG = "feature_flag"
    NO_SUBSCRIPTION = "no_subscription"
    CHANGED_SINCE = "changed_since"
    """A subscription asks for it now, and did not when it was emitted."""
    NOT_ASKED_FOR = "not_asked_for"


@dataclass(frozen=True, slots=True)
class Asked:
    """One of the endpoint's subscriptions, and what it makes of the event now."""

    subscription: Subscription
    wish: Wish
    changed_at: datetime | None = None
    """When it was made or last changed, if that is since the event."""
    change: str = ""
    """What was changed of it then, and by whom."""


@dataclass(frozen=True, slots=True)
class Matching:
    """Whether there is a delivery, or is still to be one, and why."""

    rule: Rule
    sentence: str
    subscriptions: tuple[Asked, ...] = ()

    @property
    def matched(self) -> bool:
        return self.rule is Rule.MATCHED


def decide(facts: Facts) -> Matching:
    asked = tuple(_asked(facts))
    rule, sentence = _decided(facts, asked)
    return Matching(rule, sentence, asked)


def _asked(facts: Facts) -> Iterable[Asked]:
    event = facts.event
    occurrence = Occurrence(event.type, event.channels or [], event.data)
    changes = {
        entry.object_id: entry
        for entry in facts.history
        if entry.kind == HistoryEntry.Kind.SUBSCRIPTION
    }
    for subscription in facts.subscriptions:
        change = changes.get(subscription.pk)
        is_new = subscription.created_at > event.created_at
        yield Asked(
            subscription,
            explain(occurrence, subscription),
            change.at if change else subscription.created_at if is_new else None,
            f"{'; '.join(change.lines())} (by {facts.who(change)})" if change else "",
        )


def _decided(facts: Facts, asked: tuple[Asked, ...]) -> tuple[Rule, str]:
    event, endpoint = facts.event, facts.endpoint
    wanted = [one for one in asked if one.wish.matched]
    if facts.delivery is not None:
        return Rule.MATCHED, _how_it_matched(wanted)
    if not facts.is_reached:
        return Rule.FAN_OUT, "The deliveries of the event are still being made."
    if event.subscriber_id not in (None, endpoint.subscriber_id):
        return Rule.SUBSCRIBER, "The event is for another subscriber."
    if endpoint.state == Endpoint.State.DELETED:
        return Rule.ENDPOINT_DELETED, "The endpoint is deleted."
    if endpoint.created_at > event.created_at:
        return Rule.ENDPOINT_LATER, "The endpoint was made after the event had been emitted."
    if facts.missing_flag:
        return (
            Rule.FEATURE_FLAG,
            f"The event's type is for subscribers with the feature flag “{facts.missing_flag}”, "
            "which this one does not have.",
        )
    if not asked:
        return Rule.NO_SUBSCRIPTION, "The endpoint has no subscription."
    if wanted:
        return Rule.CHANGED_SINCE, _what_came_too_late(facts, wanted[-1])
    if len(asked) == 1:
        return Rule.NOT_ASKED_FOR, asked[0].wish.sentence
    return (
        Rule.NOT_ASKED_FOR,
        f"None of the endpoint's {len(asked)} subscriptions asks for the event.",
    )


def _how_it_matched(wanted: list[Asked]) -> str:
    if not wanted:
        return "A subscription asked for the event when it was emitted; as they are now, none does."
    subscription = wanted[0].subscription
    return f"{subscription.pk} asks for it: {_terms(subscription)}."


def _terms(subscription: Subscription) -> str:
    terms = [f"its pattern is “{subscription.pattern}”"]
    if subscription.channels:
        terms.append(f"its channels are {', '.join(subscription.channels)}")
    if subscription.filter:
        terms.append(f"its filter is {subscription.filter}")
    return ", ".join(terms)


def _what_came_too_late(facts: Facts, asked: Asked) -> str:
    subscription = asked.subscription
    if subscription.created_at > facts.event.created_at:
        return f"{subscription.pk} asks for it, but was made after the event had been emitted."
    return f"{subscription.pk} asks for it now, but did not when the event was emitted."
