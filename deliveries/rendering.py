"""A claimed delivery -> the request that is sent."""

import json
import logging
from functools import lru_cache

from django.urls import reverse

from deliveries.conf import DeliverySettings
from deliveries.pipeline import Claim, ClaimedEvent
from subscriptions import encryption
from subscriptions.conf import part
from subscriptions.credentials import parse_credentials
from subscriptions.expressions import EvaluationError, Expression
from subscriptions.ids import from_uuid
from subscriptions.shapes import Payload, Shape
from webhooks import formats, payloads, profiles
from webhooks.formats import Content, Message
from webhooks.sending.outcome import Outcome, OutcomeKind, OutgoingRequest

logger = logging.getLogger(__name__)


class Unrenderable(Exception):
    """No request can be made of a delivery; the message says why, and holds no secret."""

    @property
    def outcome(self) -> Outcome:
        """What came of the attempt."""
        return Outcome(kind=OutcomeKind.UNRENDERABLE, error=str(self))


def render(claim: Claim, *, timestamp: int) -> OutgoingRequest:
    """The signed request of an attempt made at `timestamp` (seconds since the epoch).

    Its id is the event's, or the batch's, the same in every attempt; its timestamp and signature
    are new in each.
    What is signed is the body before it is compressed.
    """
    try:
        signed, sent = contents(claim.shape, claim.events)
        secrets = [encryption.decrypt(ciphertext) for ciphertext in claim.secrets]
        if not secrets:
            raise Unrenderable("The endpoint has no signing secret: issue one.")
        credentials = None
        if claim.credentials is not None:
            credentials = parse_credentials(encryption.decrypt(claim.credentials)).to_send
        signature = profiles.headers(
            claim.signature_profile, _message_id(claim), timestamp, signed.body, secrets
        )
    except Unrenderable:
        raise
    except encryption.NotDecryptable as error:
        raise Unrenderable(str(error)) from error
    except Exception as error:
        logger.exception("delivery %s cannot be rendered", from_uuid("dlv", claim.lease.delivery))
        raise Unrenderable(f"Rendering failed with {type(error).__name__}.") from error
    return OutgoingRequest(
        url=claim.url,
        headers={**sent.headers, **signature},
        body=sent.body,
        credentials=credentials,
    )


def _message_id(claim: Claim) -> str:
    if not claim.shape.batched:
        return from_uuid("evt", claim.events[0].id)
    # Halved or redriven, its lead begins another round, with another batch.
    return f"{from_uuid('bat', claim.lease.delivery)}_{claim.lease.round_start}"


def contents(shape: Shape, events: tuple[ClaimedEvent, ...]) -> tuple[Content, Content]:
    """What is signed, and what is sent: the same, or the same compressed. Raises Unrenderable."""
    if shape.batched:
        # One endpoint's alone, and perhaps megabytes: it is not kept.
        messages = [_message(shape, event) for event in events]
        return _packed(shape, formats.batch(messages, shape.format))
    return _shared(shape, events[0])


# Deliveries of one event follow each other: what they share is written once.
@lru_cache(maxsize=64)
def _shared(shape: Shape, event: ClaimedEvent) -> tuple[Content, Content]:
    return _packed(shape, formats.written(_message(shape, event), shape.format))


def _packed(shape: Shape, content: Content) -> tuple[Content, Content]:
    if shape.gzip_above is None or len(content.body) <= shape.gzip_above:
        return content, content
    return content, formats.compressed(content)


def _message(shape: Shape, event: ClaimedEvent) -> Message:
    settings = part(DeliverySettings)
    event_id = from_uuid("evt", event.id)
    data: str | None = event.payload
    link = ""
    if shape.payload is Payload.THIN:
        data, link = (
            None,
            settings.public_url.rstrip("/") + reverse("event-detail", args=[event_id]),
        )
    elif shape.payload is Payload.PROJECTION:
        data = _projected(event.payload, shape.projection)
    return Message(event_id, event.type, settings.event_source, event.occurred_at, data, link)


def _projected(payload: str, projection: str) -> str:
    try:
        data = Expression.parse(projection).evaluate(json.loads(payload))
        return payloads.encode(data, max_bytes=part(DeliverySettings).max_payload_bytes)
    except (EvaluationError, payloads.InvalidPayload) as error:
        raise Unrenderable(f"The projection fails: {error}") from error
