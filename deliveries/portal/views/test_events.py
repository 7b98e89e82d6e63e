"""A test event: sent at once, shown with its answer."""

from django.http import HttpResponse

from deliveries.portal.gate import PortalRequest, page, show
from deliveries.portal.own import found
from deliveries.testing import NotTestable, TooManyTests, send_test_event


@page
def test_event(request: PortalRequest, key: str) -> HttpResponse:
    endpoint = found(request.own.endpoints, key)
    context = {"endpoint": endpoint}
    if request.method != "POST":
        return show(request, "test_event", context)
    try:
        return show(request, "test_event", {**context, "exchange": send_test_event(endpoint)})
    except NotTestable as error:
        return show(request, "test_event", {**context, "refused": str(error)}, status=409)
    except TooManyTests as error:
        return show(request, "test_event", {**context, "refused": str(error)}, status=429)
