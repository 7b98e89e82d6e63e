"""Why an event was delivered to an endpoint, or was not: what happened, and what happens next."""

from dataclasses import dataclass

from deliveries.explaining.facts import Facts
from deliveries.explaining.outlook import Outlook, answer, foresee
from deliveries.explaining.rules import Matching, decide
from deliveries.explaining.timeline import Moment, tell
from deliveries.models import Delivery, Event
from subscriptions.models import Endpoint


@dataclass(frozen=True, slots=True)
class Explanation:
    """The whole answer, for the page, the API and the command alike."""

    event: Event
    endpoint: Endpoint
    delivery: Delivery | None
    answer: str
    """How it stands, and why, in a sentence or two."""
    next: Outlook
    matching: Matching
    timeline: tuple[Moment, ...]
    """Oldest first."""


def explain(facts: Facts) -> Explanation:
    matching = decide(facts)
    return Explanation(
        event=facts.event,
        endpoint=facts.endpoint,
        delivery=facts.delivery,
        answer=answer(facts, matching),
        next=foresee(facts, matching),
        matching=matching,
        timeline=tuple(tell(facts)),
    )
