"""What the admin's first page shows: figures, charts, and the endpoints that fare worst."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from deliveries.charts import Chart, Column, Series, Value
from deliveries.dashboard import links
from deliveries.dashboard.figures import current, past
from deliveries.dashboard.periods import PERIODS, Span, period_named
from deliveries.dashboard.traffic import Flow, Latency, Traffic, WorstEndpoint, traffic
from deliveries.dashboard.words import counted, lasted
from deliveries.status import status
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
            "current": current(status()),
            "past": past(found),
            "outcomes": _outcomes(found),
            "latencies": [
                _latency(found, "attempts", "How long attempts took", "of_attempts"),
                _latency(found, "arrivals", "From emit to delivery", "to_delivery"),
            ],
            "worst": [_worst(one, found.span) for one in found.worst],
        },
    }


def _query(asked: Mapping[str, str], paused: bool) -> str:
    return reverse("admin:index", query={**asked, **({"paused": "1"} if paused else {})})


def _sample(found: Traffic) -> str:
    if found.share == 1:
        return ""
    return (
        f"There are many: the numbers are estimates, by {found.share:.1%} of the time, spread over"
        " all of it. The lists have them all."
    )


def _worst(endpoint: WorstEndpoint, made: Span) -> dict[str, Any]:
    return {
        "url": shown(endpoint.url) or "a feed",
        "href": links.deliveries(made, endpoint.id),
        "state": endpoint.state,
        "circuit": Endpoint.Circuit(endpoint.circuit),
        "failed": counted(endpoint.failed),
        "attempts": counted(endpoint.attempts),
        "rate": endpoint.failure_rate,
        "rate_said": f"{endpoint.failure_rate:.1%}",
    }


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
            Value(getattr(flow, state), links.deliveries(part, state=state))
            for _, state in OUTCOMES
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
        href = links.deliveries(part)
        return [
            Value(None if latency is None else getattr(latency, series.name), href)
            for series in PERCENTILES
        ]

    return Chart(name, title, PERCENTILES, _columns(found, values), said=lasted, width=HALF)
