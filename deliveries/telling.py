"""What is told of events and deliveries once it is committed: to the metrics, and to the log."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from deliveries.lifecycle import State, Verdict
from deliveries.metrics import counted
from deliveries.metrics.reporting import reporter
from subscriptions.ids import from_uuid
from webhooks.sending.outcome import Outcome

logger = logging.getLogger(__name__)


class Attempted(NamedTuple):
    """An attempt that is on record."""

    event: UUID
    delivery: UUID
    endpoint: UUID
    number: int
    outcome: Outcome
    verdict: Verdict
    age: float
    """Seconds since its event was emitted."""


def emitted() -> None:
    """An event was written."""
    transaction.on_commit(partial(reporter.count, counted.EVENTS), robust=True)


def attempted(attempts: Sequence[Attempted]) -> None:
    """Attempts were recorded."""
    transaction.on_commit(partial(_attempted, attempts), robust=True)


def ended(states: Iterable[str]) -> None:
    """Deliveries came to an end without an attempt of their own."""
    transaction.on_commit(partial(_ended, Counter(states)), robust=True)


def _attempted(attempts: Sequence[Attempted]) -> None:
    for kind, count in Counter(one.outcome.kind.value for one in attempts).items():
        reporter.count(counted.ATTEMPTS, kind, count)
    reporter.observe(counted.ATTEMPT_SECONDS, [one.outcome.duration_ms / 1000 for one in attempts])
    reporter.observe(
        counted.DELIVERY_SECONDS,
        [max(0.0, one.age) for one in attempts if one.verdict.state is State.DELIVERED],
    )
    _ended(Counter(one.verdict.state.value for one in attempts))
    for one in attempts:
        _log(one)


def _ended(states: Counter[str]) -> None:
    for state in counted.DELIVERIES.values:
        if states[state]:
            reporter.count(counted.DELIVERIES, state, states[state])


def _log(one: Attempted) -> None:
    verdict = one.verdict
    if verdict.reason is not None:
        level, follows = logging.WARNING, f"dead, {verdict.reason.value}"
    elif verdict.wait is not None:
        level, follows = logging.INFO, f"the next in {verdict.wait:.0f} s"
    else:
        level, follows = logging.DEBUG, verdict.state.value
    if not logger.isEnabledFor(level):
        return
    ids = {
        "delivery_id": from_uuid("dlv", one.delivery),
        "event_id": from_uuid("evt", one.event),
        "endpoint_id": from_uuid("ep", one.endpoint),
    }
    # No error and no response: they may quote what was sent.
    outcome = f"{one.outcome.kind.value} {one.outcome.status or ''}".strip()
    logger.log(
        level,
        "attempt %d at %s, of %s to %s: %s; %s",
        *(one.number, *ids.values(), outcome, follows),
        extra=ids,
    )
