"""The catalogue: which event types there are to ask for, and what their data is like."""

from django.http import HttpResponse

from deliveries.portal.gate import PortalRequest, page, show
from deliveries.portal.own import found


@page
def event_types(request: PortalRequest) -> HttpResponse:
    rows = request.own.event_types.order_by("group", "name")
    return show(request, "event_types", {"event_types": rows})


@page
def event_type(request: PortalRequest, key: str) -> HttpResponse:
    return show(request, "event_type", {"event_type": found(request.own.event_types, key)})
