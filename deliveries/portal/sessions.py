"""The portal's own cookie, and the session that it names. Nothing of Django's sessions is in it."""

from http.cookies import Morsel
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from deliveries.portal.conf import PortalSettings
from subscriptions.conf import part
from subscriptions.models import PortalSession

SALT = "deliveries.portal.sessions"


class PartitionedMorsel(Morsel):  # type: ignore[type-arg]
    """A cookie that a browser keeps apart for each site that has the portal in a frame (CHIPS)."""

    def OutputString(self, attrs: Any = None) -> str:  # noqa: N802
        return f"{super().OutputString(attrs)}; Partitioned"


def is_embedded() -> bool:
    return bool(part(PortalSettings).portal_embed_origins)


def cookie_name() -> str:
    """Browsers take one that is called so over TLS alone (RFC 6265bis, 4.1.3.1)."""
    return "__Secure-portal" if settings.SESSION_COOKIE_SECURE else "portal"


def remember(response: HttpResponse, session: PortalSession) -> None:
    """Give the browser the session's cookie; one in a frame takes it only if it is partitioned."""
    embedded = is_embedded()
    response.set_signed_cookie(
        cookie_name(),
        session.pk,
        salt=SALT,
        max_age=int(part(PortalSettings).portal_session_age),
        path=reverse("portal:index"),
        secure=embedded or settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="None" if embedded else "Lax",
    )
    if embedded:
        plain = response.cookies[cookie_name()]
        partitioned = PartitionedMorsel()
        partitioned.set(plain.key, plain.value, plain.coded_value)
        partitioned.update(plain)
        response.cookies[cookie_name()] = partitioned


def forget(response: HttpResponse) -> None:
    response.delete_cookie(
        cookie_name(),
        path=reverse("portal:index"),
        samesite="None" if is_embedded() else "Lax",
    )


def named(request: HttpRequest) -> str:
    """The id of the session that a request says it belongs to, open or not; "" for none."""
    return request.get_signed_cookie(cookie_name(), default="", salt=SALT) or ""


def current(request: HttpRequest) -> PortalSession | None:
    """The session that a request belongs to, while it is open."""
    key = named(request)
    sessions = PortalSession.objects.open().select_related("subscriber")
    return sessions.filter(pk=key).first() if key else None
