"""What happened to an event on its way to an endpoint, moment by moment. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from deliveries.explaining.facts import Facts
from deliveries.models import Attempt, DeadLetter, Delivery, StateChange
from subscriptions.history import HistoryEntry
from webhooks.sending.outcome import OutcomeKind

State = Delivery.State
Cause = StateChange.Cause


class What(StrEnum):
    """What a moment is of."""

    EVENT = "event"
    DELIVERY = "delivery"
    STATE = "state"
    ATTEMPT = "attempt"
    CHANGE = "change"
    """Of the endpoint or one of its subscriptions."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened."""

    at: datetime
    what: What
    sentence: str
    state: str = ""
    """That the delivery was in from then on, if it changed."""
    by: str = ""
    """Whose doing it was, where it was somebody's."""
    attempt: Attempt | None = None
    dead_letter: DeadLetter | None = None


REASONS = {
    DeadLetter.Reason.EXHAUSTED: "every attempt of the retry schedule failed",
    DeadLetter.Reason.GONE: "the endpoint answered 410 Gone, by which it wants no more",
    DeadLetter.Reason.ADDRESS_REFUSED: "the endpoint's address is not allowed",
    DeadLetter.Reason.UNRENDERABLE: "no request could be made of it",
    DeadLetter.Reason.EXPIRED: "it was held for too long",
    DeadLetter.Reason.ENDPOINT_DISABLED: "its endpoint was disabled for too long",
}
"""Why a delivery was given up."""

CAUSES: dict[str, str] = {
    Cause.PUT_BACK: "A worker put it back: the endpoint had as much in flight, or as many requests "
    "a second, as it may have.",
    Cause.ENDPOINT_ACTIVE: "It was held, though the endpoint was active.",
    Cause.CIRCUIT_OPEN: "It was held: the endpoint's circuit was open.",
    Cause.ENDPOINT_PAUSED: "It was held: the endpoint was paused.",
    Cause.ENDPOINT_DISABLED: "It was held: the endpoint was disabled.",
    Cause.ENDPOINT_UNVERIFIED: "It was held: the endpoint had not answered its challenge.",
    Cause.ENDPOINT_FEED: "It was held: it is to be fetched from its feed.",
    Cause.ENDPOINT_DELETED: "It was discarded: the endpoint was deleted.",
    Cause.RELEASED: "It was released: the endpoint takes deliveries again.",
    Cause.FETCHED: "It was fetched from its feed.",
    Cause.EXPIRED: "It was given up: it was held for too long.",
    Cause.MOVED_UP: "It moved up: all before it of its ordering key had ended.",
    Cause.UNORDERED: "It left its queue: the endpoint wanted no order any more.",
    Cause.BATCH_FORMED: "Its batch was formed, of which it is the lead; or it goes alone.",
    Cause.BATCH_HALVED: "The batch was too large for the endpoint; it leads the other half.",
    Cause.LEAD_DISCARDED: "The lead of its batch was discarded, so that it gathers anew.",
    Cause.REDRIVEN: "It was redriven, with the whole retry schedule before it.",
    Cause.RECOVERED: "It was redriven by itself: the endpoint worked again.",
    Cause.REPLAYED: "It was replayed, with the whole retry schedule before it.",
    Cause.DISCARDED: "It was discarded.",
    Cause.DROPPED: "It was discarded: its dead letter was past its retention.",
}

BEGINNINGS = {
    State.PENDING: "Its delivery was made, for a worker to take.",
    State.HELD: "Its delivery was made, and held, as the endpoint was not active.",
    State.GATHERING: "Its delivery was made, to gather with others for a batch.",
    State.QUEUED: "Its delivery was made, and queued by its ordering key.",
}
"""The states in which a delivery may begin."""


def tell(facts: Facts) -> list[Moment]:
    """Oldest first."""
    moments = [Moment(facts.event.created_at, What.EVENT, "The event was emitted.")]
    if facts.delivery is not None:
        moments += [
            *_beginning(facts, facts.delivery),
            *_batch(facts, facts.delivery),
            *(_state_change(facts, change) for change in facts.state_changes),
            *_attempts(facts, facts.delivery),
        ]
    moments += [_change(facts, entry) for entry in facts.history]
    return sorted(moments, key=lambda moment: moment.at)


def _beginning(facts: Facts, delivery: Delivery) -> Iterator[Moment]:
    state = _first_state(facts, delivery)
    yield Moment(_made_at(facts, delivery), What.DELIVERY, BEGINNINGS[state], state)


def _made_at(facts: Facts, delivery: Delivery) -> datetime:
    """The transaction in which it was made may have begun before the event was written."""
    return max(delivery.created_at, facts.event.created_at)


def _first_state(facts: Facts, delivery: Delivery) -> State:
    """No row has it: what came first tells."""
    if delivery.lead_id is not None:
        return State.GATHERING
    changes, attempts = facts.state_changes, facts.attempts
    if changes and not (attempts and attempts[0].ended_at < changes[0].at):
        first = State(changes[0].was)
    else:
        first = State.PENDING if attempts else State(delivery.state)
    return first if first in BEGINNINGS else State.PENDING


def _batch(facts: Facts, delivery: Delivery) -> Iterator[Moment]:
    if facts.batched_at is not None:
        sentence = f"It went into the batch of {delivery.lead_id}, which has the attempts."
        yield Moment(facts.batched_at, What.STATE, sentence, State.BATCHED)


def _state_change(facts: Facts, change: StateChange) -> Moment:
    sentence = said_of_change(change)
    if change.detail:
        sentence = f"{sentence.removesuffix('.')}: {change.detail}"
    if change.times > 1:
        sentence = f"{sentence} This was the last of {change.times} times."
    return Moment(
        change.at,
        What.STATE,
        sentence,
        change.became,
        facts.who(change),
        dead_letter=_died_at(facts, change.at) if change.became == State.DEAD else None,
    )


def _attempts(facts: Facts, delivery: Delivery) -> Iterator[Moment]:
    for attempt in facts.attempts:
        if attempt.duration_ms:
            # Durations are the worker's, the other times the database's.
            began = attempt.ended_at - timedelta(milliseconds=attempt.duration_ms)
            began = max(began, _made_at(facts, delivery))
            sentence = f"A worker began attempt {attempt.number}."
            yield Moment(began, What.STATE, sentence, State.SENDING)
        letter = _died_at(facts, attempt.ended_at)
        sentence = f"Attempt {attempt.number}: {said_of(attempt)}."
        if letter is not None:
            sentence += f" It was given up: {reason_of(letter)}."
        yield Moment(
            attempt.ended_at,
            What.ATTEMPT,
            sentence,
            _state_after(attempt, letter),
            attempt=attempt,
            dead_letter=letter,
        )


def _state_after(attempt: Attempt, letter: DeadLetter | None) -> State:
    if attempt.outcome == OutcomeKind.DELIVERED:
        return State.DELIVERED
    return State.WAITING if letter is None else State.DEAD


def _died_at(facts: Facts, at: datetime) -> DeadLetter | None:
    """An attempt and the dead letter that it led to are of one transaction, and one time."""
    return next((letter for letter in facts.dead_letters if letter.died_at == at), None)


def _change(facts: Facts, entry: HistoryEntry) -> Moment:
    it = entry.get_kind_display().lower()
    lines = "; ".join(entry.lines())
    sentence = f"The {it} {entry.object_id} was {entry.action}{f': {lines}' if lines else ''}."
    return Moment(entry.at, What.CHANGE, sentence, by=facts.who(entry))


def said_of(attempt: Attempt) -> str:
    """What came of it, in a few words."""
    if attempt.outcome == OutcomeKind.DELIVERED:
        return f"answered {attempt.status}, delivered"
    return attempt.error.removesuffix(".") or attempt.get_outcome_display()


def said_of_change(change: StateChange) -> str:
    return CAUSES.get(change.cause, f"It was {change.cause}.")


def reason_of(letter: DeadLetter) -> str:
    return REASONS.get(DeadLetter.Reason(letter.reason), letter.reason)
