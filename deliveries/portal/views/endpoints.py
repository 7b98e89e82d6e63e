"""Endpoints: which there are, how they fare, how they are set, and what is done with them."""

from collections.abc import Callable

from django.db import transaction
from django.db.models import Prefetch
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from deliveries.portal.forms import FeedForm, NewEndpointForm, SettingsForm
from deliveries.portal.gate import PortalRequest, done, page, posted, show
from deliveries.portal.own import found, locked, newest
from subscriptions.models import Endpoint, Subscription

LATEST = 10
"""So many deliveries are on an endpoint's own page."""

enabled = Prefetch("subscriptions", Subscription.objects.filter(enabled=True), "enabled")


@page
def index(request: PortalRequest) -> HttpResponse:
    return redirect("portal:endpoints")


@page
def endpoints(request: PortalRequest) -> HttpResponse:
    rows = request.own.endpoints.prefetch_related(enabled)
    return show(request, "endpoints", {"endpoints": rows})


@page
@transaction.atomic
def add(request: PortalRequest) -> HttpResponse:
    endpoint = Endpoint(subscriber=request.portal_subscriber)
    form = NewEndpointForm(request.POST or None, instance=endpoint, own=request.own)
    if request.method == "POST" and form.is_valid():
        form.keep()
        return done(page_of(endpoint), "added")
    return show(request, "endpoint_form", {"form": form}, status=422 if form.errors else 200)


@page
def endpoint(request: PortalRequest, key: str) -> HttpResponse:
    rows = request.own.endpoints.select_related("handshake").prefetch_related("subscriptions")
    shown = found(rows, key)
    context = {
        "endpoint": shown,
        "secrets": shown.signing_secrets.live(),
        "deliveries": newest(request.own.deliveries, [shown], LATEST),
    }
    return show(request, "endpoint", context)


@page
@transaction.atomic
def settings(request: PortalRequest, key: str) -> HttpResponse:
    endpoint = found(locked(request.own.endpoints), key)
    kind = FeedForm if endpoint.is_feed else SettingsForm
    form = kind(request.POST or None, instance=endpoint)
    if request.method == "POST" and form.is_valid():
        form.keep()
        return done(page_of(endpoint), "saved")
    context = {"form": form, "endpoint": found(request.own.endpoints, key)}
    return show(request, "endpoint_form", context, status=422 if form.errors else 200)


@page
@transaction.atomic
def delete(request: PortalRequest, key: str) -> HttpResponse:
    """Asks first: there is no way back."""
    endpoint = found(locked(request.own.endpoints), key)
    if request.method == "POST":
        endpoint.delete_for_good()
        return done(reverse("portal:endpoints"), "deleted")
    return show(request, "endpoint_delete", {"endpoint": endpoint})


@posted
def pause(request: PortalRequest, key: str) -> HttpResponse:
    return _change(request, key, Endpoint.pause, "paused")


@posted
def resume(request: PortalRequest, key: str) -> HttpResponse:
    return _change(request, key, Endpoint.resume, "resumed")


@posted
def close_circuit(request: PortalRequest, key: str) -> HttpResponse:
    return _change(request, key, Endpoint.close_circuit, "closed")


@posted
def verify(request: PortalRequest, key: str) -> HttpResponse:
    return _change(request, key, Endpoint.require_handshake, "challenged")


@transaction.atomic
def _change(
    request: PortalRequest, key: str, change: Callable[[Endpoint], None], notice: str
) -> HttpResponse:
    endpoint = found(locked(request.own.endpoints), key)
    if endpoint.is_feed:
        raise Http404  # nothing is sent to it
    change(endpoint)
    return done(page_of(endpoint), notice)


def page_of(endpoint: Endpoint) -> str:
    return reverse("portal:endpoint", args=[endpoint.pk])
