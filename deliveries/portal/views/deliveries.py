"""Deliveries: a list that is filtered, and what became of each."""

from collections.abc import Callable
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse

from deliveries import operations
from deliveries.explaining import explain
from deliveries.explaining.facts import gather
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
    shown = found(request.own.deliveries.select_related("event", "endpoint__subscriber"), key)
    context = {
        "delivery": shown,
        "explanation": explain(
            gather(shown.event, shown.endpoint, asked_by=request.portal_subscriber.pk)
        ),
    }
    return show(request, "delivery", context)


@posted
def retry(request: PortalRequest, key: str) -> HttpResponse:
    return _send(request, key, _try_again, "retried")


@posted
def replay(request: PortalRequest, key: str) -> HttpResponse:
    return _send(request, key, operations.replay, "replayed")


def _try_again(deliveries: list[UUID]) -> list[UUID]:
    return operations.retry_now(deliveries) or operations.redrive(deliveries)


def _send(
    request: PortalRequest, key: str, send: Callable[[list[UUID]], list[UUID]], notice: str
) -> HttpResponse:
    delivery = found(request.own.deliveries, key)
    sent = send([to_uuid(delivery.pk)])
    url = reverse("portal:delivery", args=[delivery.pk])
    return done(url, notice if sent else f"not-{notice}")
