"""Which of the endpoints that match an event get it, as far as their filters tell.

A filter that has no value for an event's data lets it pass: an event too many is seen, an event
too few is not. The failure is logged and counted on the subscription.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from subscriptions.expressions import MAX_STEPS, Budget, Expression, ExpressionError, is_true
from subscriptions.ids import from_uuid
from subscriptions.matching import Match

logger = logging.getLogger(__name__)

PATIENCE = 4 * MAX_STEPS
"""How many steps filters take in one go before the rest is left for later."""

NOTE = """
    WITH failing AS (
        SELECT subscription.id, failure.error
          FROM unnest(%(ids)s::uuid[], %(errors)s::text[]) AS failure (id, error)
          JOIN subscriptions_subscription subscription USING (id)
         ORDER BY subscription.id FOR NO KEY UPDATE OF subscription SKIP LOCKED
    )
    UPDATE subscriptions_subscription subscription
       SET filter_failures = filter_failures + 1, filter_failed_at = now(),
           filter_error = left(failing.error, 200)
      FROM failing WHERE failing.id = subscription.id
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a filter makes of an event's data."""

    passes: bool
    value: Any
    """What the expression evaluates to."""
    error: str
    """Why it has no value; empty where it has one."""
    steps: int


@dataclass(frozen=True, slots=True)
class Sifted:
    """What filters leave of some matches."""

    passing: Sequence[Match]
    judged: int
    """How many matches were looked at, from the first on; the rest is for another time."""
    failures: Mapping[str, str]
    """Why filters had no value, by the UUIDs of their subscriptions."""


def judge(expression: str, data: Any) -> Verdict:
    """What a filter makes of the data, which is JSON as json.loads returns it."""
    budget = Budget()
    value, error = None, ""
    try:
        value = Expression.parse(expression).evaluate(data, budget)
    except ExpressionError as failed:
        error = str(failed)
    return Verdict(
        passes=bool(error) or is_true(value),
        value=value,
        error=error,
        # To parse an expression takes as long as a step a character, unless it is remembered.
        steps=len(expression) + MAX_STEPS - max(budget.left, 0),
    )


def sift(matches: Sequence[Match], data: Callable[[], Any]) -> Sifted:
    """Those of the matches that have no filter, or one that lets the data pass.

    `data` is called only where there are filters. Each expression is evaluated once, however many
    ask for it; at least one match is judged.
    """
    if not any(match.filters for match in matches):
        return Sifted(matches, len(matches), {})
    verdicts: dict[str, Verdict] = {}
    passing: list[Match] = []
    failures: dict[str, str] = {}
    steps = 0
    value = data()
    for judged, match in enumerate(matches):
        if steps > PATIENCE:
            return Sifted(passing, judged, failures)
        allowed = steps + PATIENCE
        passes = not match.filters
        for subscription, expression in (match.filters or {}).items():
            if steps > allowed:
                failures[subscription] = "The endpoint's filters take too many steps together."
                passes = True
                break
            if expression not in verdicts:
                verdicts[expression] = judge(expression, value)
                steps += verdicts[expression].steps
            verdict = verdicts[expression]
            if verdict.error:
                failures[subscription] = verdict.error
            passes = passes or verdict.passes
        if passes:
            passing.append(match)
    return Sifted(passing, len(matches), failures)


def note_failures(event: str, failures: Mapping[str, str]) -> None:
    """After the commit, log and count that filters let an event pass for want of a value."""
    if failures:
        transaction.on_commit(lambda: _note(event, failures), robust=True)


def _note(event: str, failures: Mapping[str, str]) -> None:
    for subscription, error in failures.items():
        name = from_uuid("sbn", UUID(subscription))
        logger.warning("the filter of %s lets %s pass: %s", name, event, error)
    with connection.cursor() as cursor:
        cursor.execute(NOTE, {"ids": list(failures), "errors": list(failures.values())})
