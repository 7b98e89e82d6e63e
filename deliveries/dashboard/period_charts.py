"""The charts of a period, each of plain data, with links to the lists behind them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django.utils import timezone

from deliveries.charts import HALF, Chart, Column, Series, Value
from deliveries.dashboard import links
from deliveries.dashboard.periods import Period, Span
from deliveries.dashboard.queue import Queue
from deliveries.dashboard.traffic import Flow, Latency, Traffic
from deliveries.dashboard.words import counted, lasted
from subscriptions.hidden_characters import shown

LONGEST = 22
"""Characters of a host that have room below a bar."""

# What became of deliveries, each with the state by which the admin's list knows it.
OUTCOMES = [
    (Series("delivered", "good"), "delivered"),
    (Series("waiting for another try", "waiting"), "waiting"),
    (Series("on its way", "busy"), "on_its_way"),
    (Series("dead", "bad"), "dead"),
    (Series("discarded", "over"), "discarded"),
]
PERCENTILES = [Series("p50", "low"), Series("p95", "middle"), Series("p99", "high")]
FAILED = [one for one in OUTCOMES if one[1] in ("waiting", "dead")]
LETTERS = [(Series("open", "bad"), "open"), (Series("resolved", "over"), "resolved")]
DEPTHS = [Series("messages", "high"), Series("pending", "busy")]


def charts_of(found: Traffic, samples: Sequence[Queue]) -> dict[str, Chart]:
    """All of them; `samples` has one for each part of the period."""
    return {
        "outcomes": _outcomes(found),
        "success": _success(found),
        "dead_letters": _dead_letters(found),
        "attempts": _latency(found, "attempts", "How long attempts took", "of_attempts"),
        "arrivals": _latency(
            *(found, "arrivals", "From emit to delivery", "to_delivery"), state="delivered"
        ),
        "depth": _depth(found, samples),
        "overdue": _overdue(found, samples),
        "worst": _worst_endpoints(found),
    }


def _outcomes(found: Traffic) -> Chart:
    return Chart(
        "outcomes",
        f"Deliveries per {found.period.per}, by what has become of them",
        [series for series, _ in OUTCOMES],
        _columns(
            found,
            found.flows,
            lambda flow, part: _each(
                OUTCOMES, flow, lambda state: links.deliveries(part, state=state)
            ),
        ),
        said=counted,
    )


def _success(found: Traffic) -> Chart:
    def values(flow: Flow, part: Span) -> list[Value]:
        rate = flow.success_rate
        href = links.deliveries(part, state="delivered_or_dead")
        return [Value(None if rate is None else rate * 100, href)]

    return Chart(
        "success",
        "Success rate, of what was delivered or died",
        [Series("delivered", "good")],
        _columns(found, found.flows, values),
        said="{:.4g}%".format,
        width=HALF,
    )


def _dead_letters(found: Traffic) -> Chart:
    return Chart(
        "dead-letters",
        "Dead letters, by when they died",
        [series for series, _ in LETTERS],
        _columns(
            found,
            found.dead_letters,
            lambda letters, part: _each(
                LETTERS, letters, lambda became: links.dead_letters(part, became)
            ),
        ),
        said=counted,
        width=HALF,
    )


def _depth(found: Traffic, samples: Sequence[Queue]) -> Chart:
    def values(queue: Queue, part: Span) -> list[Value]:
        href = links.deliveries(part)
        return [Value(queue.messages, href), Value(queue.pending, href)]

    return Chart(
        "depth",
        "Queue depth",
        DEPTHS,
        _columns(found, samples, values),
        said=counted,
        note=_sampled(found.period),
        width=HALF,
    )


def _overdue(found: Traffic, samples: Sequence[Queue]) -> Chart:
    return Chart(
        "overdue",
        "Oldest overdue",
        [Series("overdue", "waiting")],
        _columns(
            found,
            samples,
            lambda queue, part: [Value(queue.overdue, links.deliveries(part))],
        ),
        said=lasted,
        note=_sampled(found.period),
        width=HALF,
    )


def _worst_endpoints(found: Traffic) -> Chart:
    return Chart(
        "worst",
        "Worst endpoints, by their deliveries that failed",
        [series for series, _ in FAILED],
        [
            Column(
                _short(endpoint.url),
                shown(endpoint.url) or "a feed",
                _each(FAILED, endpoint, partial(links.deliveries, found.span, endpoint.id)),
            )
            for endpoint in found.worst
        ],
        said=counted,
    )


def _latency(found: Traffic, name: str, title: str, which: str, state: str = "") -> Chart:
    def values(flow: Flow, part: Span) -> list[Value]:
        latency: Latency | None = getattr(flow, which)
        href = links.deliveries(part, state=state)
        return [
            Value(None if latency is None else getattr(latency, series.name), href)
            for series in PERCENTILES
        ]

    return Chart(
        *(name, title, PERCENTILES),
        _columns(found, found.flows, values),
        said=lasted,
        width=HALF,
    )


def _each(
    kinds: Sequence[tuple[Series, str]], of: object, href: Callable[[str], str]
) -> list[Value]:
    """How many of each kind, with a link to them."""
    return [Value(getattr(of, kind), href(kind)) for _, kind in kinds]


def _columns(
    found: Traffic, of_parts: Sequence[Any], values: Callable[[Any, Span], list[Value]]
) -> list[Column]:
    label = found.period.label
    return [
        Column(
            timezone.localtime(part.start).strftime(label),
            f"{timezone.localtime(part.start):{label}} to {timezone.localtime(part.end):{label}}",
            values(of_part, part),
        )
        for part, of_part in zip(found.parts, of_parts, strict=True)
    ]


def _sampled(period: Period) -> str:
    return (
        f"The most of each {period.per}, by a look every minute."
        " A point leads to the deliveries made in that time."
    )


def _short(url: str) -> str:
    host = shown(urlsplit(url).hostname or "") or "a feed"
    return host if len(host) <= LONGEST else f"{host[: LONGEST - 1]}…"
