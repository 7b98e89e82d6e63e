"""The gate of every page: who is let in, what a form has to show, and how a page is made."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from deliveries.portal import sessions
from deliveries.portal.conf import PortalSettings
from deliveries.portal.framing import framed
from deliveries.portal.notices import NOTICES
from deliveries.portal.own import Own
from deliveries.portal.throttling import wait_of
from subscriptions.conf import part
from subscriptions.models import PortalSession, Subscriber

TOKEN_SALT = "deliveries.portal.gate"  # noqa: S105


class PortalRequest(HttpRequest):
    """A request that the gate has let through."""

    portal_session: PortalSession
    portal_subscriber: Subscriber  # whose the changes are: subscriptions.middleware
    own: Own


View = Callable[..., HttpResponse]


def paced(view: View) -> View:
    """A view that is asked no oftener than PORTAL_RATE."""

    @wraps(view)
    def counted(request: HttpRequest, **keys: str) -> HttpResponse:
        wait = wait_of(request)
        if not wait:
            return view(request, **keys)
        refused = show(request, "too_often", {"wait": wait}, status=429)
        refused.headers["Retry-After"] = str(wait)
        return refused

    return counted


def page(view: View) -> View:
    """A page for those who have a session, which changes things by POST alone.

    Django's protection against forged requests goes by a cookie, which browsers keep from a page in
    another site's frame; the token of this one goes by the session.
    """

    @paced
    @wraps(view)
    def guarded(request: HttpRequest, **keys: str) -> HttpResponse:
        session = sessions.current(request)
        if session is None:
            return show(request, "outside", status=403)
        request.portal_session = session  # type: ignore[attr-defined]
        request.portal_subscriber = session.subscriber  # type: ignore[attr-defined]
        request.own = Own(session.subscriber)  # type: ignore[attr-defined]
        if request.method == "POST" and not _shows_token(request, session):
            return show(request, "forged", status=403)
        try:
            return view(request, **keys)
        except Http404:
            return show(request, "missing", status=404)

    methods = require_http_methods(["GET", "HEAD", "POST"])
    return framed(csrf_exempt(methods(sensitive_post_parameters()(guarded))))


def posted(view: View) -> View:
    """A page that is there for POST alone."""
    return page(require_http_methods(["POST"])(view))


def show(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any] | None = None,
    *,
    status: int = 200,
) -> HttpResponse:
    """A page of the portal, made of portal/<template>.html."""
    session: PortalSession | None = getattr(request, "portal_session", None)
    shared = {
        "theme": part(PortalSettings),
        "subscriber": session and session.subscriber,
        "token": session and token_of(session),
        "notice": NOTICES.get(request.GET.get("done", "")),
    }
    return render(request, f"portal/{template}.html", {**shared, **(context or {})}, status=status)


def done(url: str, notice: str) -> HttpResponse:
    """Go on to a page that says what was done: a key of NOTICES."""
    return HttpResponseRedirect(f"{url}{'&' if '?' in url else '?'}done={notice}")


def token_of(session: PortalSession) -> str:
    """What each form has in it, and no other site can know. It is never the same twice."""
    return signing.TimestampSigner(salt=TOKEN_SALT).sign(session.pk)


def _shows_token(request: HttpRequest, session: PortalSession) -> bool:
    try:
        shown = signing.TimestampSigner(salt=TOKEN_SALT).unsign(request.POST.get("token", ""))
    except signing.BadSignature:
        return False
    return shown == session.pk
