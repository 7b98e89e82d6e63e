"""The charts of a period, each of plain data, with links to the lists behind them."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any
from urllib.parse import urlsplit

from django.utils import timezone

from deliveries.charts import Chart, Column, Series, Value
from deliveries.dashboard import links
from deliveries.dashboard.periods import Period, Span
from deliveries.dashboard.queue import Queue
from deliveries.dashboard.traffic import Flow, Traffic
from deliveries.dashboard.words import counted, lasted
from subscriptions.hidden_characters import shown

HALF = 460
"""The width of a chart that has another beside it."""

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


def outcomes(found: Traffic) -> Chart:
    return Chart(
        "outcomes",
        f"Deliveries per {found.period.per}, by what has become of them",
        [series for series, _ in OUTCOMES],
        _columns(
            found,
            found.flows,
            lambda flow, part: [
                Value(getattr(flow, state), links.deliveries(part, state=state))
                for _, state in OUTCOMES
            ],
        ),
        said=_counted,
    )


def success(found: Traffic) -> Chart:
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


def dead_letters(found: Traffic) -> Chart:
    return Chart(
        "dead-letters",
        "Dead letters, by when they died",
        [series for series, _ in LETTERS],
        _columns(
            found,
            found.dead_letters,
            lambda letters, part: [
                Value(getattr(letters, became), links.dead_letters(part, became))
                for _, became in LETTERS
            ],
        ),
        said=_counted,
        width=HALF,
    )


def attempts(found: Traffic) -> Chart:
    return _latency(found, "attempts", "How long attempts took", "of_attempts")


def arrivals(found: Traffic) -> Chart:
    return _latency(found, "arrivals", "From emit to delivery", "to_delivery", "delivered")


def depth(found: Traffic, samples: Sequence[Queue]) -> Chart:
    def values(queue: Queue, part: Span) -> list[Value]:
        href = links.deliveries(part)
        return [Value(queue.messages, href), Value(queue.pending, href)]

    return Chart(
        "depth",
        "Queue depth",
        DEPTHS,
        _columns(found, samples, values),
        said=_counted,
        note=_sampled(found.period),
        width=HALF,
    )


def overdue(found: Traffic, samples: Sequence[Queue]) -> Chart:
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


def worst_endpoints(found: Traffic) -> Chart:
    return Chart(
        "worst",
        "Worst endpoints, by their deliveries that failed",
        [series for series, _ in FAILED],
        [
            Column(
                _short(endpoint.url),
                shown(endpoint.url) or "a feed",
                [
                    Value(
                        getattr(endpoint, state),
                        links.deliveries(found.span, endpoint.id, state=state),
                    )
                    for _, state in FAILED
                ],
            )
            for endpoint in found.worst
        ],
        said=_counted,
    )


def _latency(found: Traffic, name: str, title: str, which: str, state: str = "") -> Chart:
    def values(flow: Flow, part: Span) -> list[Value]:
        latency, href = getattr(flow, which), links.deliveries(part, state=state)
        return [Value(latency and attrgetter(series.name)(latency), href) for series in PERCENTILES]

    return Chart(
        *(name, title, PERCENTILES),
        _columns(found, found.flows, values),
        said=lasted,
        width=HALF,
    )


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


def _counted(amount: float) -> str:
    return counted(round(amount))
