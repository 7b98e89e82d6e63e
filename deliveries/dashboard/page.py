"""What the admin's first page shows: figures, charts, and the endpoints that fare worst."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from deliveries.charts import Chart
from deliveries.dashboard import links
from deliveries.dashboard.figures import current, past
from deliveries.dashboard.period_charts import charts_of
from deliveries.dashboard.periods import PERIODS, period_named
from deliveries.dashboard.queue import queue
from deliveries.dashboard.traffic import Traffic, WorstEndpoint, traffic
from deliveries.dashboard.words import counted
from deliveries.status import status
from subscriptions.hidden_characters import shown
from subscriptions.models import Endpoint

EVERY = 30
"""Seconds until the page is looked at again."""

PIECES = ("time", "sample", "current", "past", "worst")
"""What of the page is looked at again, besides the charts."""


def show(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the page shows to those who may see deliveries; others have a plain index (unfold)."""
    if not request.user.has_perm("deliveries.view_delivery"):
        return context
    now = timezone.now()
    period = period_named(request.GET.get("period"))
    paused = "paused" in request.GET
    found = traffic(period, now)
    here = {"period": period.key}
    charts = charts_of(found, queue(found.parts))
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
            "charts": charts,
            "anew": _anew(charts),
            "worst": [_worst(one) for one in found.worst],
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


def _anew(charts: Mapping[str, Chart]) -> str:
    """The elements of the page that change."""
    pieces = [f"#dashboard-{piece}" for piece in PIECES]
    drawn = (f"#chart-{chart.name}-{of}" for chart in charts.values() for of in ("drawing", "rows"))
    return ",".join([*pieces, *drawn])


def _worst(endpoint: WorstEndpoint) -> dict[str, Any]:
    return {
        "url": shown(endpoint.url) or "a feed",
        "href": links.endpoint(endpoint.id),
        "state": endpoint.state,
        "circuit": Endpoint.Circuit(endpoint.circuit),
        "failed": counted(endpoint.failed),
        "attempts": counted(endpoint.attempts),
        "rate_said": f"{endpoint.failure_rate:.1%}",
    }
