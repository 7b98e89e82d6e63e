"""Where a figure or a bar leads: to the admin's list of exactly those rows."""

from django.urls import reverse

from deliveries.dashboard.periods import Span


def deliveries(made: Span | None, endpoint: str = "", state: str = "") -> str:
    query = {"q": endpoint} if endpoint else {}
    if state:
        query["state"] = state
    if made is not None:
        query["created"] = f"{made.start.isoformat()}/{made.end.isoformat()}"
    return reverse("admin:deliveries_delivery_changelist", query=query)


def dead_letters(**query: str) -> str:
    return reverse("admin:deliveries_deadletter_changelist", query={"resolution": "open", **query})


def endpoints(**query: str) -> str:
    return reverse("admin:subscriptions_endpoint_changelist", query=query)
