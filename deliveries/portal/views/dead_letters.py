"""Dead letters: what was given up, and how it is sent after all."""

from django.http import HttpResponse
from django.urls import reverse

from deliveries import operations
from deliveries.portal.forms import Chosen
from deliveries.portal.gate import PortalRequest, done, page, posted, show
from subscriptions.ids import to_uuid

PAGE = 100
"""So many dead letters are on the page, the newest."""


@page
def dead_letters(request: PortalRequest) -> HttpResponse:
    rows = request.own.dead_letters.select_related("delivery__event", "delivery__endpoint")
    newest = list(rows.defer("delivery__event__payload").order_by("-pk")[: PAGE + 1])
    context = {"dead_letters": newest[:PAGE], "more": len(newest) > PAGE, "limit": PAGE}
    return show(request, "dead_letters", context)


@posted
def redrive(request: PortalRequest) -> HttpResponse:
    """Those that are chosen."""
    letters = Chosen(request.POST, own=request.own).letters()
    redriven = operations.redrive([to_uuid(letter.delivery_id) for letter in letters])
    return done(reverse("portal:dead_letters"), "redriven" if redriven else "not-redriven")
