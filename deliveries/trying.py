"""What a subscription would make of events that were emitted: nothing is delivered."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import QuerySet

from deliveries.models import Event
from subscriptions.explaining import Asking, Explanation, Occurrence, explain

LATEST = 10
VALUE_SHOWN = 1000
"""So many characters of what a filter evaluates to are shown."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one event."""

    occurrence: Occurrence
    explanation: Explanation
    event: str | None = None
    """Its id, unless it is an example."""

    @property
    def evaluates_to(self) -> str | None:
        """The value of the filter as JSON, cut where it is long; None if there is none."""
        verdict = self.explanation.verdict
        if verdict is None or verdict.error:
            return None
        text = json.dumps(verdict.value, ensure_ascii=False)
        return text if len(text) <= VALUE_SHOWN else f"{text[:VALUE_SHOWN]}…"

    @property
    def filter_error(self) -> str:
        """Why the filter has no value; empty where it has one."""
        verdict = self.explanation.verdict
        return "" if verdict is None else verdict.error


def try_on_example(subscription: Asking, example: Occurrence) -> list[Trial]:
    return [Trial(example, explain(example, subscription))]


def try_on_events(subscription: Asking, events: Iterable[Event]) -> list[Trial]:
    trials = []
    for event in events:
        occurrence = Occurrence(event.type, event.channels or [], event.data)
        trials.append(Trial(occurrence, explain(occurrence, subscription), event.pk))
    return trials


def latest(events: QuerySet[Event], subscriber: str | None = None) -> list[Event]:
    """The last few of the events, newest first: those for `subscriber` or everybody, if given."""
    if subscriber is None:
        return list(events.order_by("-pk")[:LATEST])
    # One query for each half, as PostgreSQL takes the index for either and not for an OR.
    found = [
        event
        for owner in (subscriber, None)
        for event in events.filter(subscriber=owner).order_by("-pk")[:LATEST]
    ]
    return sorted(found, key=lambda event: event.pk, reverse=True)[:LATEST]
