"""Where figures and charts lead: to the admin's list of the rows that they count.

Those of the deliveries and dead letters as they are now, in the times that the charts have; what is
counted elsewhere, or was measured, leads to the deliveries that it is about.
"""

from django.contrib.admin.utils import quote
from django.urls import reverse

from deliveries.dashboard.periods import Span
from subscriptions.models import Endpoint


def deliveries(made: Span | None, endpoint: str = "", state: str = "") -> str:
    query = {"q": endpoint} if endpoint else {}
    if state:
        query["state"] = state
    if made is not None:
        query["created"] = _moments(made)
    return reverse("admin:deliveries_delivery_changelist", query=query)


def dead_letters(died: Span | None = None, resolution: str = "open") -> str:
    query = {"resolution": resolution} | ({} if died is None else {"created": _moments(died)})
    return reverse("admin:deliveries_deadletter_changelist", query=query)


def _moments(span: Span) -> str:
    return f"{span.start.isoformat()}/{span.end.isoformat()}"


def endpoint(id: str) -> str:
    return reverse("admin:subscriptions_endpoint_change", args=[quote(id)])


def open_circuits() -> str:
    in_use = [state for state in Endpoint.State if state != Endpoint.State.DELETED]
    query = {"circuit__in": "open,half_open", "state__in": ",".join(in_use)}
    return reverse("admin:subscriptions_endpoint_changelist", query=query)
