"""/metrics, for those who have the token."""

import hmac

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client.exposition import choose_encoder

from deliveries.conf import DeliverySettings
from deliveries.metrics.exposition import registry
from subscriptions.conf import part


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """All metrics, to whoever shows METRICS_TOKEN as a bearer token; without one, to nobody."""
    token = part(DeliverySettings).metrics_token
    if not token:
        return HttpResponse(
            "Set ANGARIUM_METRICS_TOKEN, and show it as a bearer token.\n",
            status=403,
            content_type="text/plain",
        )
    shown = request.headers.get("Authorization", "")
    if not hmac.compare_digest(shown.encode(), f"Bearer {token}".encode()):
        return HttpResponse(
            "Show the token: Authorization: Bearer …\n",
            status=401,
            content_type="text/plain; charset=utf-8",
            headers={"WWW-Authenticate": 'Bearer realm="metrics"'},
        )
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(registry), content_type=content_type)
