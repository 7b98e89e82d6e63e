"""Deliveries: a list that is filtered, and what became of each."""

from django.http import HttpResponse
from django.urls import reverse

from deliveries import operations
from deliveries.portal.forms import DeliveryFilters
from deliveries.portal.gate import PortalRequest, done, page, posted, show
from deliveries.portal.own import found, newest
from subscriptions.ids import to_uuid

PAGE = 50
"""So many deliveries are on one page."""


@page
def deliveries(request: PortalRequest) -> HttpResponse:
    filters = DeliveryFilters(request.GET, own=request.own)
    rows = newest(filters.apply(request.own.deliveries), filters.endpoints(), PAGE + 1)
    context = {
        "filters": filters,
        "event_types": request.own.event_types,
        "deliveries": rows[:PAGE],
        "older": filters.link(before=rows[PAGE - 1].pk) if len(rows) > PAGE else None,
    }
    return show(request, "deliveries", context)


@page
def delivery(request: PortalRequest, key: str) -> HttpResponse:
    shown = found(request.own.deliveries.select_related("event", "endpoint"), key)
    context = {
        "delivery": shown,
        "attempts": shown.its_attempts.order_by("-number"),
        "dead_letter": request.own.dead_letters.filter(delivery=shown).first(),
    }
    return show(request, "delivery", context)


@posted
def retry(request: PortalRequest, key: str) -> HttpResponse:
    shown = found(request.own.deliveries, key)
    ids = [to_uuid(shown.pk)]
    again = operations.retry_now(ids) or operations.redrive(ids)
    url = reverse("portal:delivery", args=[shown.pk])
    return done(url, "retried" if again else "not-retried")
