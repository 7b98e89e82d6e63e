"""Replays: started after a count, followed, paused, cancelled."""

from collections.abc import Callable, Collection

from django.http import HttpResponse
from django.urls import reverse

from deliveries import replays as jobs
from deliveries.models import Replay
from deliveries.portal.forms import ReplayForm
from deliveries.portal.gate import PortalRequest, done, page, posted, show
from deliveries.portal.own import found

SHOWN = 50
"""So many replays are on the page, the newest."""


@page
def replays(request: PortalRequest) -> HttpResponse:
    rows = list(request.own.replays.select_related("endpoint").order_by("-pk")[:SHOWN])
    context = {
        "replays": rows,
        "under_way": any(row.state == Replay.State.RUNNING for row in rows),
        "endpoints": request.own.endpoints.sent_to(),
    }
    return show(request, "replays", context)


@page
def start(request: PortalRequest, key: str) -> HttpResponse:
    """A form that counts what would be sent, then starts to send it."""
    endpoint = found(request.own.endpoints.sent_to(), key)
    form = ReplayForm(request.POST or None, instance=Replay(endpoint=endpoint))
    counted: jobs.Count | None = None
    if request.method == "POST" and form.is_valid():
        if "start" not in request.POST:
            counted = jobs.count(form.instance)
        elif _started(form):
            return done(reverse("portal:replays"), "replay-started")
    context = {"endpoint": endpoint, "form": form, "counted": counted}
    return show(request, "replay", context, status=422 if form.errors else 200)


def _started(form: ReplayForm) -> bool:
    try:
        jobs.start(form.instance)
    except jobs.ReplayUnderWay as error:
        form.add_error(None, str(error))
        return False
    return True


@posted
def pause(request: PortalRequest, key: str) -> HttpResponse:
    return _change(request, key, jobs.pause)


@posted
def resume(request: PortalRequest, key: str) -> HttpResponse:
    return _change(request, key, jobs.resume)


@posted
def cancel(request: PortalRequest, key: str) -> HttpResponse:
    return _change(request, key, jobs.cancel)


def _change(
    request: PortalRequest, key: str, change: Callable[[Collection[str]], list[str]]
) -> HttpResponse:
    changed = change([found(request.own.replays, key).pk])
    return done(reverse("portal:replays"), "replay-changed" if changed else "replay-ended")
