"""Requests to an endpoint that are no deliveries: its challenge, and test events."""

import time
from typing import Any

from django.utils import timezone
from uuid_utils.compat import uuid7

from deliveries.conf import DeliverySettings
from deliveries.pipeline import Claim, ClaimedEvent, Lease
from deliveries.rendering import render
from subscriptions.conf import part
from subscriptions.ids import to_uuid
from subscriptions.models import Endpoint, SigningSecret
from subscriptions.shapes import Shape
from webhooks import payloads
from webhooks.sending.outcome import OutgoingRequest


def probe(endpoint: Endpoint, event_type: str, data: Any, shape: Shape) -> OutgoingRequest:
    """The request that would deliver such an event; none is recorded. Raises Unrenderable."""
    payload = payloads.encode(data, max_bytes=part(DeliverySettings).max_payload_bytes)
    secrets = SigningSecret.objects.live().filter(endpoint=endpoint)
    claim = Claim(
        lease=Lease(uuid7(), to_uuid(endpoint.pk), attempt_number=1, round_start=0),
        url=endpoint.url,
        max_in_flight=1,
        secrets=list(secrets.values_list("ciphertext", flat=True)),
        credentials=endpoint.credentials,
        signature_profile=endpoint.signature_profile,
        send_traceparent=endpoint.send_traceparent,
        shape=shape,
        events=(ClaimedEvent(uuid7(), event_type, timezone.now(), payload),),
    )
    return render(claim, timestamp=int(time.time()))
