"""Sign and verify webhooks by Standard Webhooks 1.0.

What is signed is `{id}.{timestamp}.{body}`.
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webhooks.keys import signing_key, verifying_key

TOLERANCE = 300
"""Seconds by which a timestamp may be off, either way."""

MAX_SIGNATURES = 32

ID = re.compile(r"[A-Za-z0-9_-]{1,255}", re.ASCII)
TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)


class InvalidMessageId(ValueError):
    """A message id that could shift the boundary between what is signed: see `ID`."""


class VerificationFailed(ValueError):
    """A webhook that is not to be trusted."""


class MissingHeader(VerificationFailed):
    """One of the three webhook headers is missing or malformed."""


class TimestampOutOfTolerance(VerificationFailed):
    """Signed too long ago, or in the future: a replay, or a clock that is wrong."""


class SignatureMismatch(VerificationFailed):
    """No signature fits: another secret, or another id, timestamp or body."""


@dataclass(frozen=True, slots=True)
class VerifiedMessage:
    """A webhook whose signature fits. `timestamp` is in seconds since the epoch."""

    id: str
    timestamp: int
    body: bytes

    def json(self) -> Any:
        """The parsed body. Raises ValueError where it is not JSON."""
        return json.loads(self.body)


def sign(message_id: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> str:
    """The value of webhook-signature: one signature for each secret, joined by spaces.

    Secrets are `whsec_…` or `whsk_…`. Raises keys.InvalidSecret, or InvalidMessageId for an id
    with other than letters, digits, '_', '-'.
    """
    if not ID.fullmatch(message_id):
        raise InvalidMessageId("A message id has 1 to 255 letters, digits, '_' and '-' only.")
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    return " ".join(signing_key(secret).sign(signed) for secret in secrets)


def headers(message_id: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The three headers of a webhook. Raises as `sign` does."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(message_id, timestamp, body, secrets),
    }


def verify(
    headers: Mapping[str, str],
    body: bytes,
    secrets: str | Sequence[str],
    *,
    tolerance: int = TOLERANCE,
    now: float | None = None,
) -> VerifiedMessage:
    """Check that one of `secrets` signed this webhook, within `tolerance` seconds of `now`.

    A secret is a `whsec_…`, or the public key `whpk_…` of one that the sender keeps. Header names
    count in any case; signatures of other schemes are passed over. Raises VerificationFailed, or
    keys.InvalidSecret where a secret of the receiver's own is not one.
    """
    keys = [verifying_key(one) for one in ([secrets] if isinstance(secrets, str) else secrets)]
    given = {str(name).lower(): value for name, value in headers.items()}
    message_id = _matching(given, "webhook-id", ID)
    timestamp = int(_matching(given, "webhook-timestamp", TIMESTAMP))
    if abs((time.time() if now is None else now) - timestamp) > tolerance:
        raise TimestampOutOfTolerance(f"The timestamp is more than {tolerance} s off.")

    signed = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    signatures = _signatures(given)
    # A list, so without an early end: the time taken tells nothing of which key fits.
    fits = [key.verifies(signed, signatures) for key in keys]
    if not any(fits):
        raise SignatureMismatch("No signature fits.")
    return VerifiedMessage(message_id, timestamp, body)


def _matching(given: Mapping[str, object], name: str, pattern: re.Pattern[str]) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise MissingHeader(f"The header {name} is missing or malformed.")
    return value


def _signatures(given: Mapping[str, object]) -> list[tuple[str, str]]:
    value = given.get("webhook-signature")
    if not isinstance(value, str) or not value.isascii():
        raise MissingHeader("The header webhook-signature is missing or malformed.")
    candidates = value.split(" ", MAX_SIGNATURES)[:MAX_SIGNATURES]
    return [(version, text) for version, _, text in (one.partition(",") for one in candidates)]
