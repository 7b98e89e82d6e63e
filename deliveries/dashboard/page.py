"""The figures and charts of the admin's first page, each with a link to the list behind it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.humanize.templatetags.humanize import intword
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.timesince import timesince

from deliveries import bell
from deliveries.charts import Chart, Column, Series, Value
from deliveries.dashboard.periods import PERIODS, Span, period_named
from deliveries.dashboard.traffic import Flow, Latency, Traffic, WorstEndpoint, traffic
from deliveries.status import EXACT, Some, Status, status
from subscriptions.hidden_characters import shown
from subscriptions.models import Endpoint

HALF = 460
"""The width of a chart that has another beside it."""

EVERY = 30
"""Seconds until the page is looked at again."""

# What became of deliveries, each with the state by which the admin's list knows it.
OUTCOMES = [
    (Series("delivered", "good"), "delivered"),
    (Series("waiting for another try", "waiting"), "waiting"),
    (Series("on its way", "busy"), "on_its_way"),
    (Series("dead", "bad"), "dead"),
    (Series("discarded", "over"), "discarded"),
]
PERCENTILES = [Series("p50", "low"), Series("p95", "middle"), Series("p99", "high")]


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    value: str
    said: str
    """What else there is to say of it."""
    href: str
    tone: str = ""
    """Where it asks for attention: bad or waiting."""


def show(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the page shows to those who may see deliveries; others have a plain index (unfold)."""
    if not request.user.has_perm("deliveries.view_delivery"):
        return context
    now = timezone.now()
    period = period_named(request.GET.get("period"))
    paused = "paused" in request.GET
    found = traffic(period, now)
    here = {"period": period.key}
    return {
        **context,
        "title": "Dashboard",
        "dashboard": {
            "now": now,
            "every": EVERY,
            "paused": paused,
            "periods": [
                (one.name, _query({"period": one.key}, paused), one is period) for one in PERIODS
            ],
            "here": _query(here, paused),
            "toggle": _query(here, not paused),
            "sample": _sample(found),
            "current": _current(status()),
            "past": _past(found),
            "outcomes": _outcomes(found),
            "latencies": [
                _latency(found, "attempts", "How long attempts took", "of_attempts"),
                _latency(found, "arrivals", "From emit to delivery", "to_delivery"),
            ],
            "worst": [_worst(one, _all(found)) for one in found.worst],
        },
    }


def counted(number: int) -> str:
    """A count as people say it: 1,234, and 5.0 million."""
    return f"{number:,}" if number < 1_000_000 else str(intword(number))


def lasted(milliseconds: float) -> str:
    """A time as people say it: 12 ms, 1.5 s, 3 min."""
    seconds = milliseconds / 1_000
    if seconds < 1:
        return f"{milliseconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.0f} h"


def _query(asked: Mapping[str, str], paused: bool) -> str:
    return reverse("admin:index", query={**asked, **({"paused": "1"} if paused else {})})


def _deliveries(made: Span | None, endpoint: str = "", state: str = "") -> str:
    query = {"q": endpoint} if endpoint else {}
    if state:
        query["state"] = state
    if made is not None:
        query["created"] = f"{made.start.isoformat()}/{made.end.isoformat()}"
    return reverse("admin:deliveries_delivery_changelist", query=query)


def _dead_letters(**query: str) -> str:
    return reverse("admin:deliveries_deadletter_changelist", query={"resolution": "open", **query})


def _endpoints(**query: str) -> str:
    return reverse("admin:subscriptions_endpoint_changelist", query=query)


def _all(found: Traffic) -> Span:
    return Span(found.parts[0].start, found.parts[-1].end)


def _sample(found: Traffic) -> str:
    if found.share == 1:
        return ""
    return (
        f"There are many: the numbers are estimates, by {found.share:.1%} of the time, spread over"
        " all of it. The lists have them all."
    )


def _current(found: Status) -> list[Figure]:
    messages = bell.waiting()
    pending, sending, waiting, held = (
        found.deliveries[state] for state in ("pending", "sending", "waiting", "held")
    )
    dead = sum(some.count for some in found.dead_letters.values())
    first = min(
        (some.earliest for some in found.dead_letters.values() if some.earliest is not None),
        default=None,
    )
    overdue = max(found.seconds_since(pending), found.seconds_since(waiting))
    late = max((pending, waiting), key=found.seconds_since)
    circuits = found.circuits["open"] + found.circuits["half_open"]
    failing = sum(one.failing for one in found.endpoints.values())
    return [
        Figure(
            "Queue depth",
            "unknown" if messages is None else counted(messages),
            "The broker does not answer."
            if messages is None
            else f"messages on the broker; {_many(pending)} pending",
            _deliveries(None, state="pending"),
            "bad" if messages is None else "",
        ),
        Figure("In flight", _many(sending), "being sent", _deliveries(None, state="sending")),
        Figure(
            "Waiting",
            _many(waiting),
            f"for another try; {_many(held)} held",
            _deliveries(None, state="waiting"),
        ),
        Figure(
            "Oldest overdue",
            lasted(overdue * 1_000) if overdue else "none",
            "since it was to be sent" if overdue else "nothing is late",
            _deliveries(None, state="pending" if late is pending else "waiting"),
            "bad" if overdue > 300 else "waiting" if overdue > 30 else "",
        ),
        Figure(
            "Dead letters",
            counted(dead) if dead < EXACT else f"more than {EXACT:,}",
            "open" if first is None else f"open; the oldest died {timesince(first, found.at)} ago",
            _dead_letters(),
            "bad" if dead else "",
        ),
        Figure(
            "Open circuits",
            counted(circuits),
            f"of endpoints; {counted(failing)} failing",
            _endpoints(circuit__in="open,half_open"),
            "bad" if circuits else "",
        ),
    ]


def _worst(endpoint: WorstEndpoint, made: Span) -> dict[str, Any]:
    return {
        "url": shown(endpoint.url) or "a feed",
        "href": _deliveries(made, endpoint.id),
        "state": endpoint.state,
        "circuit": Endpoint.Circuit(endpoint.circuit),
        "failed": counted(endpoint.failed),
        "attempts": counted(endpoint.attempts),
        "rate": endpoint.failure_rate,
        "rate_said": f"{endpoint.failure_rate:.1%}",
    }


def _many(some: Some) -> str:
    return counted(some.count) if some.count < EXACT else f"about {counted(some.count)}"


def _past(found: Traffic) -> list[Figure]:
    whole, about = found.whole, "" if found.share == 1 else "about "
    rate, made = whole.success_rate, _all(found)
    return [
        Figure(
            "Deliveries",
            about + counted(whole.deliveries),
            f"made; {about}{counted(whole.delivered)} delivered",
            _deliveries(made),
        ),
        Figure(
            "Success rate",
            "none" if rate is None else f"{rate:.2%}",
            "nothing has ended" if rate is None else f"of what ended; {counted(whole.dead)} dead",
            _deliveries(made, state="dead"),
            "" if rate is None or rate > 0.99 else "waiting" if rate > 0.9 else "bad",
        ),
        Figure("Median attempt", *_percentiles(whole.of_attempts), _deliveries(made)),
        Figure(
            "Median from emit to delivery",
            *_percentiles(whole.to_delivery),
            _deliveries(made, state="delivered"),
        ),
    ]


def _percentiles(latency: Latency | None) -> tuple[str, str]:
    if latency is None:
        return "none", "nothing to measure"
    return lasted(latency.p50), f"p95 {lasted(latency.p95)}, p99 {lasted(latency.p99)}"


def _columns(found: Traffic, values: Any) -> list[Column]:
    label = found.period.label
    return [
        Column(
            timezone.localtime(part.start).strftime(label),
            f"{timezone.localtime(part.start):{label}} to {timezone.localtime(part.end):{label}}",
            values(flow, part),
        )
        for part, flow in zip(found.parts, found.flows, strict=True)
    ]


def _outcomes(found: Traffic) -> Chart:
    def values(flow: Flow, part: Span) -> list[Value]:
        return [
            Value(getattr(flow, state), _deliveries(part, state=state)) for _, state in OUTCOMES
        ]

    return Chart(
        "outcomes",
        f"Deliveries per {found.period.per}, by what has become of them",
        [series for series, *_ in OUTCOMES],
        _columns(found, values),
        said=lambda amount: counted(round(amount)),
    )


def _latency(found: Traffic, name: str, title: str, which: str) -> Chart:
    def values(flow: Flow, part: Span) -> list[Value]:
        latency: Latency | None = getattr(flow, which)
        href = _deliveries(part)
        return [
            Value(None if latency is None else getattr(latency, series.name), href)
            for series in PERCENTILES
        ]

    return Chart(name, title, PERCENTILES, _columns(found, values), said=lasted, width=HALF)
