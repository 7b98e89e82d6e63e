"""The way in, by a link that is good once, and the way out."""

import logging

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods

from deliveries.portal import sessions
from deliveries.portal.conf import PortalSettings
from deliveries.portal.framing import framed
from deliveries.portal.gate import PortalRequest, paced, posted, show
from deliveries.portal.theme import stylesheet
from subscriptions.conf import part
from subscriptions.models import PortalSession
from subscriptions.portal_access import LinkRefused

logger = logging.getLogger(__name__)

THEME_AGE = 300
"""So many seconds a browser may keep the theme."""


@framed
@csrf_exempt  # whoever is let in by a link had no session before
@paced
@require_http_methods(["GET", "HEAD", "POST"])
def enter(request: HttpRequest) -> HttpResponse:
    """Exchange a link for a session, and drop it from the address.

    By POST alone, so that whatever fetches links by itself uses none up.
    """
    settings = part(PortalSettings)
    try:
        if request.method != "POST":
            link = request.GET.get("link", "")
            PortalSession.objects.look_at(link, link_age=settings.portal_link_age)
            return show(request, "enter", {"link": link})
        session = PortalSession.objects.enter(
            request.POST.get("link", ""),
            link_age=settings.portal_link_age,
            session_age=settings.portal_session_age,
        )
    except LinkRefused as error:
        return show(request, "refused", {"why": str(error)}, status=403)
    logger.info("%s has entered the portal: %s", session.subscriber_id, session.pk)
    response = HttpResponseRedirect(reverse("portal:index"))
    sessions.remember(response, session)
    return response


@posted
def leave(request: PortalRequest) -> HttpResponse:
    PortalSession.objects.filter(pk=request.portal_session.pk).end()
    response = redirect("portal:left")
    sessions.forget(response)
    return response


@framed
@paced
@require_GET
def left(request: HttpRequest) -> HttpResponse:
    return show(request, "left")


@require_GET
def theme(request: HttpRequest) -> HttpResponse:
    headers = {"Cache-Control": f"max-age={THEME_AGE}"}
    return HttpResponse(
        stylesheet(part(PortalSettings)), content_type="text/css; charset=utf-8", headers=headers
    )
