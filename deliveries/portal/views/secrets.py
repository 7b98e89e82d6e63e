"""An endpoint's signing secrets: shown, which is noted, and rotated."""

import logging

from django.db import transaction
from django.http import Http404, HttpResponse
from django.urls import reverse

from deliveries.portal.forms import RotateForm
from deliveries.portal.gate import PortalRequest, done, page, posted, show
from deliveries.portal.own import found, locked
from subscriptions.history import HistoryEntry
from subscriptions.models import Endpoint, SigningSecret

logger = logging.getLogger(__name__)


@page
def secret(request: PortalRequest, key: str) -> HttpResponse:
    return _shown(request, _signing(request, key))


@posted
def reveal(request: PortalRequest, key: str) -> HttpResponse:
    endpoint = _signing(request, key)
    newest = endpoint.signing_secrets.filter(expires_at=None).first()
    if newest is None:
        raise Http404
    HistoryEntry.objects.note_reveal(newest)
    logger.info("%s was shown the signing secret of %s", request.portal_session.pk, endpoint.pk)
    return _shown(request, endpoint, revealed=newest)


@posted
@transaction.atomic
def rotate(request: PortalRequest, key: str) -> HttpResponse:
    endpoint = _signing(request, key, for_change=True)
    form = RotateForm(request.POST, endpoint=endpoint)
    if not form.is_valid():
        return _shown(request, endpoint, form, status=422)
    form.issue(endpoint)
    return done(_page_of(endpoint), "rotated")


@posted
@transaction.atomic
def expire(request: PortalRequest, key: str) -> HttpResponse:
    endpoint = _signing(request, key, for_change=True)
    SigningSecret.objects.expire_replaced(endpoint)
    return done(_page_of(endpoint), "expired")


def _signing(request: PortalRequest, key: str, *, for_change: bool = False) -> Endpoint:
    """An endpoint that is sent something, and so signed for."""
    rows = request.own.endpoints.exclude(state=Endpoint.State.FEED)
    return found(locked(rows) if for_change else rows, key)


def _shown(
    request: PortalRequest,
    endpoint: Endpoint,
    form: RotateForm | None = None,
    *,
    revealed: SigningSecret | None = None,
    status: int = 200,
) -> HttpResponse:
    live = list(endpoint.signing_secrets.live())
    kind = live[0].kind if live else None
    context = {
        "endpoint": endpoint,
        "secrets": live,
        "revealed": revealed,
        "form": form or RotateForm(endpoint=endpoint, initial={"secret_kind": kind}),
    }
    return show(request, "secret", context, status=status)


def _page_of(endpoint: Endpoint) -> str:
    return reverse("portal:secret", args=[endpoint.pk])
