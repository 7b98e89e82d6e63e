"""Which sites may have the portal in a frame, and what it may load: the headers that say so."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from csp.constants import NONE, SELF
from csp.decorators import csp_replace
from django.http import HttpRequest, HttpResponse

from deliveries.portal.conf import PortalSettings
from subscriptions.conf import part


def framed(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A view of the portal, with the policy that the settings give it."""

    @wraps(view)
    def with_policy(request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        settings = part(PortalSettings)
        logo = settings.portal_logo_url
        pictures = [SELF, logo] if logo and not logo.startswith("/") else [SELF]
        policy = {
            "img-src": pictures,
            "frame-ancestors": [*settings.portal_embed_origins] or [NONE],
        }
        response: Any = csp_replace(policy)(view)(request, *args, **options)
        # A browser that knows frame-ancestors passes this header over; it can name no origin.
        response.xframe_options_exempt = bool(settings.portal_embed_origins)
        return response  # type: ignore[no-any-return]

    return with_policy
