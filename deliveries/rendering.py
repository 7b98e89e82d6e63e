"""A claimed delivery -> the request that is sent."""

import logging

from deliveries.pipeline import Claim
from subscriptions import encryption
from subscriptions.credentials import parse_credentials
from subscriptions.ids import from_uuid
from webhooks import payloads, profiles
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

    Its id is the event's, the same in every attempt; its timestamp and signature are new in each.
    """
    try:
        body = payloads.envelope(claim.event_type, claim.occurred_at, claim.payload)
        secrets = [encryption.decrypt(ciphertext) for ciphertext in claim.secrets]
        if not secrets:
            raise Unrenderable("The endpoint has no signing secret: issue one.")
        credentials = None
        if claim.credentials is not None:
            credentials = parse_credentials(encryption.decrypt(claim.credentials)).to_send
        signed = profiles.headers(
            claim.signature_profile, from_uuid("evt", claim.event), timestamp, body, secrets
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
        headers={"content-type": "application/json", **signed},
        body=body,
        credentials=credentials,
    )
