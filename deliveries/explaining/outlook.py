"""How it stands with an event on its way to an endpoint, and what happens next, and when. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from deliveries.explaining.facts import Facts
from deliveries.explaining.rules import Matching, Rule
from deliveries.explaining.timeline import CAUSES, reason_of, said_of, said_of_change
from deliveries.models import DeadLetter, Delivery, StateChange
from subscriptions.models import Endpoint

State = Delivery.State
Cause = StateChange.Cause
EndpointState = Endpoint.State


@dataclass(frozen=True, slots=True)
class Outlook:
    """What happens next; `at` is when, where that is known."""

    sentence: str
    at: datetime | None = None


def answer(facts: Facts, matched: Matching) -> str:
    """How it stands, and why."""
    if facts.delivery is None:
        return f"There is no delivery. {matched.sentence}"
    return ANSWERS[State(facts.delivery.state)](facts, facts.delivery)


def foresee(facts: Facts, matched: Matching) -> Outlook:
    if facts.delivery is not None:
        return OUTLOOKS[State(facts.delivery.state)](facts, facts.delivery)
    if matched.rule is Rule.FAN_OUT:
        return Outlook("Whether the endpoint gets one is decided when the fan-out comes by it.")
    return Outlook("Nothing: an event is matched when it is emitted, and not again.")


# How it stands


def _why_pending(facts: Facts, delivery: Delivery) -> str:
    return f"It is about to be sent. {_last_attempt(facts)}".rstrip()


def _why_sending(facts: Facts, delivery: Delivery) -> str:
    return f"Attempt {delivery.attempt_number} is under way."


def _why_waiting(facts: Facts, delivery: Delivery) -> str:
    why = _last_change(facts) or _last_attempt(facts)
    return f"It waits for its next attempt. {why}".rstrip()


def _why_held(facts: Facts, delivery: Delivery) -> str:
    return f"It is held. {_endpoint_at_rest(facts)}"


def _why_gathering(facts: Facts, delivery: Delivery) -> str:
    return "It waits for others, to be sent with them in one batch."


def _why_queued(facts: Facts, delivery: Delivery) -> str:
    ahead = facts.ahead
    key = f"its ordering key “{delivery.ordering_key}”"
    if ahead is None:
        return f"It is the next of {key}."
    return f"It waits behind {ahead.pk} of {key}, which is {ahead.state}."


def _why_batched(facts: Facts, delivery: Delivery) -> str:
    return f"It is in the batch of {delivery.lead_id}. {_last_attempt(facts)}".rstrip()


def _why_delivered(facts: Facts, delivery: Delivery) -> str:
    if not facts.attempts:
        return "It was delivered."
    return f"It was delivered by attempt {facts.attempts[-1].number}."


def _why_dead(facts: Facts, delivery: Delivery) -> str:
    if not facts.dead_letters:
        return "It was given up."
    letter = facts.dead_letters[-1]
    error = f" Its last error: {letter.last_error.removesuffix('.')}." if letter.last_error else ""
    return f"It was given up: {reason_of(letter)}.{error}"


def _why_discarded(facts: Facts, delivery: Delivery) -> str:
    if not facts.state_changes:
        return "It was discarded."
    change = facts.state_changes[-1]
    by = f" That was {facts.who(change)}'s decision." if change.cause == Cause.DISCARDED else ""
    return f"{said_of_change(change)}{by}"


def _last_attempt(facts: Facts) -> str:
    if not facts.attempts:
        return ""
    attempt = facts.attempts[-1]
    return f"Attempt {attempt.number}: {said_of(attempt)}."


def _last_change(facts: Facts) -> str:
    """That it was put back, if that is why it waits."""
    if not facts.state_changes:
        return ""
    change = facts.state_changes[-1]
    is_last = not facts.attempts or facts.attempts[-1].ended_at < change.at
    return CAUSES[Cause.PUT_BACK] if is_last and change.cause == Cause.PUT_BACK else ""


def _endpoint_at_rest(facts: Facts) -> str:
    endpoint = facts.endpoint
    since = ""
    if facts.moved is not None and facts.moved.action != facts.moved.Action.CREATED:
        since = f" since {_written(facts.moved.at)}, by {facts.who(facts.moved)}"
    reason = f": {endpoint.disabled_reason.removesuffix('.')}" if endpoint.disabled_reason else ""
    if endpoint.state == EndpointState.ACTIVE and not endpoint.takes_deliveries:
        opened = (
            f" since {_written(endpoint.circuit_opened_at)}" if endpoint.circuit_opened_at else ""
        )
        return f"The endpoint's circuit is open{opened}: too many deliveries to it failed."
    return {
        EndpointState.ACTIVE: "The endpoint is active again.",
        EndpointState.PAUSED: f"The endpoint is paused{since}.",
        EndpointState.DISABLED: f"The endpoint is disabled{since}{reason}.",
        EndpointState.UNVERIFIED: "The endpoint has not answered its challenge.",
        EndpointState.FEED: "It has not been fetched from its feed.",
        EndpointState.DELETED: f"The endpoint is deleted{since}.",
    }[EndpointState(endpoint.state)]


# What happens next


def _after_pending(facts: Facts, delivery: Delivery) -> Outlook:
    if delivery.rung_at is None:
        return Outlook("A worker takes it.")
    lost_at = delivery.rung_at + timedelta(seconds=facts.settings.lost_after)
    return Outlook(
        "A worker takes it: its message has been under way since "
        f"{_written(delivery.rung_at)}. If no worker has by then, it is enqueued again.",
        lost_at,
    )


def _after_sending(facts: Facts, delivery: Delivery) -> Outlook:
    return Outlook(
        "The worker records what comes of it. If the worker is lost, so is its lease by then, "
        "and the next attempt follows.",
        delivery.lease_expires_at,
    )


def _after_waiting(facts: Facts, delivery: Delivery) -> Outlook:
    at = delivery.next_attempt_at
    if not facts.endpoint.takes_deliveries:
        rest = _endpoint_at_rest(facts)
        return Outlook(f"When it is due, it is held, unless that changes: {rest}", at)
    number = delivery.attempt_number + 1
    tries, of = number - delivery.round_start, facts.settings.max_attempts
    left = f"try {tries} of {of}" if tries < of else f"try {tries} of {of}, the last"
    return Outlook(f"Attempt {number} follows ({left}).", at)


def _after_held(facts: Facts, delivery: Delivery) -> Outlook:
    since = facts.state_changes[-1].at if facts.state_changes else delivery.created_at
    expires_at = since + timedelta(seconds=facts.settings.held_retention)
    if facts.endpoint.state == EndpointState.ACTIVE and not facts.endpoint.takes_deliveries:
        return _after_circuit(facts)
    sentence = {
        EndpointState.ACTIVE: "It is released when its turn comes, the oldest first.",
        EndpointState.PAUSED: "It is released when the endpoint is resumed.",
        EndpointState.DISABLED: "It is released when the endpoint is enabled again.",
        EndpointState.UNVERIFIED: "It is released when the endpoint answers its challenge.",
        EndpointState.FEED: "It is delivered by being fetched.",
        EndpointState.DELETED: "It is discarded within seconds.",
    }[EndpointState(facts.endpoint.state)]
    if facts.endpoint.state in (EndpointState.ACTIVE, EndpointState.DELETED):
        return Outlook(sentence)
    return Outlook(f"{sentence} If it is still held by then, it becomes a dead letter.", expires_at)


def _after_circuit(facts: Facts) -> Outlook:
    """What an open circuit, or one that is half-open, lets happen."""
    after = "It is released when the circuit is closed"
    if facts.endpoint.probe_at is None:
        return Outlook(f"{after}: a delivery probes the endpoint just now.")
    return Outlook(f"{after}: a delivery probes the endpoint then.", facts.endpoint.probe_at)


def _after_gathering(facts: Facts, delivery: Delivery) -> Outlook:
    endpoint = facts.endpoint
    if endpoint.batch_events is None:
        return Outlook("It is sent by itself: the endpoint wants no batches any more.")
    return Outlook(
        f"It is sent when {endpoint.batch_events} have gathered, or by then.",
        delivery.created_at + timedelta(seconds=endpoint.batch_seconds),
    )


def _after_queued(facts: Facts, delivery: Delivery) -> Outlook:
    if not facts.endpoint.takes_deliveries:
        return Outlook(f"It stays where it is. {_endpoint_at_rest(facts)}")
    if facts.ahead is None:
        return Outlook("It moves up within seconds.")
    return Outlook("It moves up when all before it have been delivered, are dead or are discarded.")


def _after_batched(facts: Facts, delivery: Delivery) -> Outlook:
    lead = delivery.lead
    if lead is None or lead.ended_at is not None:
        return Outlook("It follows its lead within seconds.")
    return Outlook(f"It shares the fate of its lead, which is {lead.state}.", lead.next_attempt_at)


def _after_delivered(facts: Facts, delivery: Delivery) -> Outlook:
    return Outlook("Nothing: it has arrived.")


def _after_dead(facts: Facts, delivery: Delivery) -> Outlook:
    if not facts.dead_letters:
        return Outlook("Nothing by itself. It may be redriven.")
    letter = facts.dead_letters[-1]
    recovers = (
        letter.reason == DeadLetter.Reason.EXHAUSTED
        and delivery.ordering_key is None
        and all(one.resolution != DeadLetter.Resolution.RECOVERED for one in facts.dead_letters)
    )
    by_itself = (
        "It is redriven by itself once the endpoint has taken another delivery."
        if recovers
        else "Nothing by itself."
    )
    return Outlook(
        f"{by_itself} It may be redriven until it is discarded then.",
        letter.died_at + timedelta(seconds=facts.settings.dead_letter_retention),
    )


def _after_discarded(facts: Facts, delivery: Delivery) -> Outlook:
    return Outlook("Nothing: it is not attempted again.")


def _written(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


ANSWERS: dict[State, Callable[[Facts, Delivery], str]] = {
    State.PENDING: _why_pending,
    State.SENDING: _why_sending,
    State.WAITING: _why_waiting,
    State.HELD: _why_held,
    State.GATHERING: _why_gathering,
    State.QUEUED: _why_queued,
    State.BATCHED: _why_batched,
    State.DELIVERED: _why_delivered,
    State.DEAD: _why_dead,
    State.DISCARDED: _why_discarded,
}
OUTLOOKS: dict[State, Callable[[Facts, Delivery], Outlook]] = {
    State.PENDING: _after_pending,
    State.SENDING: _after_sending,
    State.WAITING: _after_waiting,
    State.HELD: _after_held,
    State.GATHERING: _after_gathering,
    State.QUEUED: _after_queued,
    State.BATCHED: _after_batched,
    State.DELIVERED: _after_delivered,
    State.DEAD: _after_dead,
    State.DISCARDED: _after_discarded,
}
