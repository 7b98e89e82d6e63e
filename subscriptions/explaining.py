"""Why a subscription gets an event, or does not: what matching does in SQL, said of one."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from subscriptions.event_types import patterns_matching
from subscriptions.filtering import Verdict, judge


class Reason(StrEnum):
    """By which rule a subscription gets an event, or does not."""

    MATCHED = "matched"
    FILTER_FAILED = "filter_failed"  # gets it, as its filter could not tell
    DISABLED = "disabled"
    TYPE = "type"
    CHANNEL = "channel"
    FILTER = "filter"


GETS_IT = frozenset({Reason.MATCHED, Reason.FILTER_FAILED})
SENTENCES = {
    Reason.MATCHED: "The subscription asks for this event.",
    Reason.FILTER_FAILED: "The filter has no value for this event, which it lets pass therefore.",
    Reason.DISABLED: "The subscription is switched off.",
    Reason.TYPE: "The pattern does not match the type of the event.",
    Reason.CHANNEL: "The event is on none of the subscription's channels.",
    Reason.FILTER: "The filter is not true for this event.",
}


class Asking(Protocol):
    """What a subscription asks for; subscriptions.models.Subscription is one."""

    pattern: str
    channels: list[str]
    filter: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class Occurrence:
    """What there is to know of an event for this."""

    type: str
    channels: Collection[str]
    data: Any
    """JSON, as json.loads returns it."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Whether a subscription gets an event, and why."""

    subscription: Asking
    reason: Reason
    verdict: Verdict | None = None
    """What its filter makes of the event, where it came to that."""

    @property
    def matched(self) -> bool:
        return self.reason in GETS_IT

    @property
    def sentence(self) -> str:
        return SENTENCES[self.reason]


def explain(event: Occurrence, subscription: Asking) -> Explanation:
    """Why the subscription gets the event, or does not.

    An endpoint gets it, once, if any of its subscriptions does; provided that it is not deleted,
    and that the event is for its subscriber or for everybody.
    """
    if not subscription.enabled:
        return Explanation(subscription, Reason.DISABLED)
    if subscription.pattern not in patterns_matching(event.type):
        return Explanation(subscription, Reason.TYPE)
    if subscription.channels and not set(subscription.channels) & set(event.channels):
        return Explanation(subscription, Reason.CHANNEL)
    if not subscription.filter:
        return Explanation(subscription, Reason.MATCHED)
    verdict = judge(subscription.filter, event.data)
    if verdict.error:
        return Explanation(subscription, Reason.FILTER_FAILED, verdict)
    return Explanation(subscription, Reason.MATCHED if verdict.passes else Reason.FILTER, verdict)
