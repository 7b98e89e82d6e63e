"""The figures: how it is now, and how the period was."""

from dataclasses import dataclass

from django.utils.timesince import timesince

from deliveries import bell
from deliveries.dashboard import links
from deliveries.dashboard.traffic import Latency, Traffic
from deliveries.dashboard.words import counted, lasted
from deliveries.status import EXACT, Some, Status

LATE, MUCH_TOO_LATE = 30.0, 300.0
"""Seconds since a delivery was to be sent. Whoever waits longer than a sweep takes is overdue."""

FAIR, WELL = 0.9, 0.99
"""Rates of success."""


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    value: str
    said: str
    """What else there is to say of it."""
    href: str
    tone: str = ""
    """Where it asks for attention: bad or waiting."""


def current(found: Status) -> list[Figure]:
    messages = bell.waiting()
    pending, sending, waiting, held = (
        found.deliveries[state] for state in ("pending", "sending", "waiting", "held")
    )
    dead = sum(some.count for some in found.dead_letters.values())
    first = min(
        (some.earliest for some in found.dead_letters.values() if some.earliest is not None),
        default=None,
    )
    overdue = found.overdue
    circuits = found.circuits["open"] + found.circuits["half_open"]
    failing = sum(one.failing for one in found.endpoints.values())
    return [
        Figure(
            "Queue depth",
            "unknown" if messages is None else counted(messages),
            "The broker does not answer."
            if messages is None
            else f"messages on the broker; the list has the {_many(pending)} pending",
            links.deliveries(None, state="pending"),
            "bad" if messages is None else "",
        ),
        Figure("In flight", _many(sending), "being sent", links.deliveries(None, state="sending")),
        Figure(
            "Waiting",
            _many(waiting),
            f"for another try; {_many(held)} held",
            links.deliveries(None, state="waiting"),
        ),
        Figure(
            "Oldest overdue",
            lasted(overdue * 1_000) if overdue else "none",
            "since it was to be sent" if overdue else "nothing is late",
            links.deliveries(None, state="overdue"),
            "bad" if overdue > MUCH_TOO_LATE else "waiting" if overdue > LATE else "",
        ),
        Figure(
            "Dead letters",
            counted(dead) if dead < EXACT else f"more than {EXACT:,}",
            "open" if first is None else f"open; the oldest died {timesince(first, found.at)} ago",
            links.dead_letters(),
            "bad" if dead else "",
        ),
        Figure(
            "Open circuits",
            counted(circuits),
            f"of endpoints; {counted(failing)} failing",
            links.open_circuits(),
            "bad" if circuits else "",
        ),
    ]


def past(found: Traffic) -> list[Figure]:
    whole, about = found.whole, "" if found.share == 1 else "about "
    rate, made = whole.success_rate, found.span
    return [
        Figure(
            "Deliveries",
            about + counted(whole.deliveries),
            f"made; {about}{counted(whole.delivered)} delivered",
            links.deliveries(made),
        ),
        Figure(
            "Success rate",
            "none" if rate is None else f"{rate:.2%}",
            "nothing has ended"
            if rate is None
            else f"of {about}{counted(whole.delivered + whole.dead)} delivered or dead",
            links.deliveries(made, state="delivered_or_dead"),
            "" if rate is None or rate > WELL else "waiting" if rate > FAIR else "bad",
        ),
        Figure("Median attempt", *_percentiles(whole.of_attempts), links.deliveries(made)),
        Figure(
            "Median from emit to delivery",
            *_percentiles(whole.to_delivery),
            links.deliveries(made, state="delivered"),
        ),
    ]


def _many(some: Some) -> str:
    return counted(some.count) if some.count < EXACT else f"about {counted(some.count)}"


def _percentiles(latency: Latency | None) -> tuple[str, str]:
    if latency is None:
        return "none", "nothing to measure"
    return lasted(latency.p50), f"p95 {lasted(latency.p95)}, p99 {lasted(latency.p99)}"
