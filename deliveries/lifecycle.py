"""The life of a delivery: which state follows which, and what an attempt's outcome leads to."""

from collections.abc import Callable
from dataclasses import dataclass

from deliveries.backoff import wait_before_retry
from deliveries.conf import DeliverySettings
from deliveries.models import DeadLetter, Delivery
from webhooks.sending.outcome import Outcome, OutcomeKind

State = Delivery.State
Reason = DeadLetter.Reason

# Redriven or replayed, by whoever decides so.
SENT_AGAIN = frozenset({State.PENDING, State.GATHERING, State.QUEUED})

TRANSITIONS: dict[State, frozenset[State]] = {
    State.PENDING: frozenset({State.SENDING, State.HELD, State.DISCARDED}),
    State.SENDING: frozenset({State.DELIVERED, State.WAITING, State.DEAD}),
    State.WAITING: frozenset({State.SENDING, State.HELD, State.DISCARDED}),
    # Waiting, where its turn is yet to come; delivered, where it is fetched from a feed.
    State.HELD: frozenset({State.PENDING, State.WAITING, State.GATHERING})
    | frozenset({State.DELIVERED, State.DEAD, State.DISCARDED}),
    State.QUEUED: frozenset({State.PENDING, State.HELD, State.DEAD, State.DISCARDED}),
    State.GATHERING: frozenset({State.PENDING, State.BATCHED, State.HELD, State.DISCARDED}),
    State.BATCHED: frozenset({State.DELIVERED, State.DEAD, State.PENDING, State.GATHERING}),
    State.DELIVERED: SENT_AGAIN,
    State.DEAD: SENT_AGAIN | {State.DISCARDED},
    State.DISCARDED: SENT_AGAIN,
}
"""Which states may follow each state."""

FINAL = frozenset({State.DELIVERED, State.DEAD, State.DISCARDED})
"""The states in which nothing more happens by itself."""

ON_ITS_WAY = frozenset(State) - FINAL - {State.WAITING}
"""Neither ended, nor waiting to be tried again."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows an attempt: delivered, waiting for `wait` seconds, or dead for a `reason`."""

    state: State
    wait: float | None = None
    reason: Reason | None = None
    halve: bool = False
    """Whether it was a batch too large for its endpoint."""


def verdict(
    outcome: Outcome,
    *,
    tries: int,
    settings: DeliverySettings,
    random: Callable[[], float],
    batch: bool = False,
) -> Verdict:
    """Judge the outcome of try number `tries` (from 1) of a round; `random` gives 0 to 1.

    2xx is success and nothing else is; 410 Gone and a refused URL end the delivery at once. A name
    may resolve to a refused address for a moment only, and is tried again. An attempt whose worker
    died says nothing of the endpoint: the next follows without a wait. A `batch` of several events
    that is too large (413) goes again in halves, for each of which the schedule begins anew.
    """
    if outcome.kind is OutcomeKind.DELIVERED:
        return Verdict(State.DELIVERED)
    if outcome.status == 410:
        return Verdict(State.DEAD, reason=Reason.GONE)
    if outcome.kind is OutcomeKind.ADDRESS_REFUSED:
        return Verdict(State.DEAD, reason=Reason.ADDRESS_REFUSED)
    if batch and outcome.status == 413:
        return Verdict(State.WAITING, wait=0.0, halve=True)
    if outcome.kind is OutcomeKind.INTERRUPTED and tries < settings.max_attempts:
        return Verdict(State.WAITING, wait=0.0)
    wait = wait_before_retry(
        tries,
        settings.retry_schedule,
        stretch=settings.jitter * random(),
        retry_after=outcome.retry_after,
        retry_after_max=settings.retry_after_max,
    )
    if wait is not None:
        return Verdict(State.WAITING, wait=wait)
    if outcome.kind is OutcomeKind.NAME_REFUSED:
        return Verdict(State.DEAD, reason=Reason.ADDRESS_REFUSED)
    if outcome.kind is OutcomeKind.UNRENDERABLE:
        return Verdict(State.DEAD, reason=Reason.UNRENDERABLE)
    return Verdict(State.DEAD, reason=Reason.EXHAUSTED)
