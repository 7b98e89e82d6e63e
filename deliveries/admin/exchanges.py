"""The page of a delivery: its time-line, and each attempt's request beside its response."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.utils.safestring import SafeString

from deliveries.admin.display import readable, text
from deliveries.admin.explain_page import EXPLAINED_TO, explained
from deliveries.admin.json_tree import json_tree
from deliveries.explaining import explain
from deliveries.explaining.facts import gather
from deliveries.models import Attempt, Delivery
from deliveries.pipeline import ClaimedEvent
from deliveries.rendering import Unrenderable, contents
from subscriptions.admin.display import mark
from subscriptions.hidden_characters import shown
from subscriptions.ids import to_uuid
from webhooks.sending.outcome import OutcomeKind

ATTEMPTS_SHOWN = 20
"""The newest."""

SIGNED = "new in each attempt, and not kept"
HIDDEN = "•••"


@dataclass(frozen=True, slots=True)
class Step:
    """A part of an attempt's time; its beginning and its share in hundredths of the whole."""

    name: str
    ms: int
    begins: float
    share: float


@dataclass(frozen=True, slots=True)
class Exchange:
    """One attempt."""

    attempt: Attempt
    outcome: SafeString
    error: str
    headers: Sequence[tuple[str, str]]
    steps: Sequence[Step]
    response_headers: Sequence[tuple[str, str]]
    response: SafeString | str


def what_happened(user: AbstractBaseUser | AnonymousUser, delivery: Delivery) -> dict[str, Any]:
    """For the page: as much of it as the user may see."""
    if not user.has_perms(EXPLAINED_TO):  # type: ignore[union-attr]
        return {}
    facts = gather(delivery.event, delivery.endpoint)
    context = explained(explain(facts))
    if user.has_perm("deliveries.view_attempt"):  # type: ignore[union-attr]
        newest = [*reversed(facts.attempts)]
        headers, body = _request(delivery)
        context["exchanges"] = [_exchange(attempt, headers) for attempt in newest[:ATTEMPTS_SHOWN]]
        context["exchanges_left_out"] = len(newest[ATTEMPTS_SHOWN:])
        context["request_body"] = body
    return context


def _request(delivery: Delivery) -> tuple[list[tuple[str, str]], SafeString | str]:
    """The headers and the body that it has as its endpoint is now, but for what signs it."""
    event, endpoint = delivery.event, delivery.endpoint
    claimed = ClaimedEvent(to_uuid(event.pk), event.type, event.occurred_at, event.payload)
    try:
        content, sent = contents(endpoint.shape, (claimed,))
    except Unrenderable as error:
        return [], text(str(error))
    known = endpoint.shown_credentials
    hidden = dict.fromkeys(known["header_names"], HIDDEN)
    if known["authentication"].get("kind", "none") != "none":
        hidden["authentication"] = f"{known['authentication']['kind']} {HIDDEN}"
    named = {**sent.headers, "webhook-id": event.pk, "webhook-signature": SIGNED, **hidden}
    return readable(named), json_tree(content.body.decode())


def _exchange(attempt: Attempt, headers: Sequence[tuple[str, str]]) -> Exchange:
    succeeded = attempt.outcome == OutcomeKind.DELIVERED
    began = attempt.ended_at - timedelta(milliseconds=attempt.duration_ms)
    return Exchange(
        attempt=attempt,
        outcome=mark(str(attempt.get_outcome_display()), "good" if succeeded else "bad"),
        error=shown(attempt.error),
        headers=[*headers, ("webhook-timestamp", f"about {began.timestamp():.0f}")],
        steps=[*_steps(attempt)],
        response_headers=[*_named(attempt.response_headers)],
        response=json_tree(attempt.response_body) if attempt.response_body else "",
    )


def _named(headers: str) -> Iterator[tuple[str, str]]:
    for line in headers.splitlines():
        name, _, value = line.partition(": ")
        yield shown(name), shown(value)


def _steps(attempt: Attempt) -> Iterator[Step]:
    """One after another; what is left of the whole is the rest of the response."""
    whole = max(attempt.duration_ms, 1)
    steps = {**attempt.steps}
    total = steps.pop("total")
    steps["rest"] = max(total - sum(steps.values()), 0)
    before = 0
    for name, taken in steps.items():
        yield Step(name, taken, 100 * before / whole, 100 * taken / whole)
        before += taken
