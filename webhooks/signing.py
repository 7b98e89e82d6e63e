"""Sign and verify webhooks: Standard Webhooks 1.0, scheme v1 (HMAC-SHA256).

What is signed is `{id}.{timestamp}.{body}`; the key is the decoded secret.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

PREFIX = "whsec_"
VERSION = "v1"
TOLERANCE = 300
"""Seconds by which a timestamp may be off, either way."""
KEY_BYTES = range(24, 65)
"""How many bytes a key may have (Standard Webhooks, "Signature scheme")."""

MAX_SIGNATURES = 32

ID = re.compile(r"[A-Za-z0-9_-]{1,255}", re.ASCII)
TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)


class InvalidSecret(ValueError):
    """A signing secret that is not `whsec_` and the base64 of 24 to 64 bytes."""

    def __init__(self) -> None:
        super().__init__(
            f"A signing secret is {PREFIX!r} and the base64 of {KEY_BYTES.start} to "
            f"{KEY_BYTES.stop - 1} random bytes: make one with generate_secret()."
        )


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


def generate_secret() -> str:
    """A new signing secret with 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


# Every delivery signs; its secret is the same as the last delivery's to that endpoint.
@lru_cache(maxsize=10_000)
def decode_secret(secret: str) -> bytes:
    """The key in a signing secret. Raises InvalidSecret, which does not repeat it."""
    if not secret.startswith(PREFIX):
        raise InvalidSecret
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidSecret from None
    if len(key) not in KEY_BYTES:
        raise InvalidSecret
    return key


def sign(message_id: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> str:
    """The value of webhook-signature: one signature for each secret, joined by spaces.

    Raises InvalidSecret, or InvalidMessageId for an id with other than letters, digits, '_', '-'.
    """
    if not ID.fullmatch(message_id):
        raise InvalidMessageId("A message id has 1 to 255 letters, digits, '_' and '-' only.")
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    return " ".join(f"{VERSION},{_signature(decode_secret(secret), signed)}" for secret in secrets)


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

    Header names count in any case; signatures of other schemes are passed over. Raises
    VerificationFailed, or InvalidSecret where a secret of the receiver's own is not one.
    """
    keys = [decode_secret(one) for one in ([secrets] if isinstance(secrets, str) else secrets)]
    given = {str(name).lower(): value for name, value in headers.items()}
    message_id = _matching(given, "webhook-id", ID)
    timestamp = int(_matching(given, "webhook-timestamp", TIMESTAMP))
    if abs((time.time() if now is None else now) - timestamp) > tolerance:
        raise TimestampOutOfTolerance(f"The timestamp is more than {tolerance} s off.")

    signed = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    expected = [_signature(key, signed).encode() for key in keys]
    fits = False
    for version, _, signature in _signatures(given):
        for right in expected:
            # No early end: the time taken tells nothing of which signature fits.
            fits |= version == VERSION and hmac.compare_digest(signature.encode(), right)
    if not fits:
        raise SignatureMismatch("No signature fits.")
    return VerifiedMessage(message_id, timestamp, body)


def _signature(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _matching(given: Mapping[str, object], name: str, pattern: re.Pattern[str]) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise MissingHeader(f"The header {name} is missing or malformed.")
    return value


def _signatures(given: Mapping[str, object]) -> list[tuple[str, str, str]]:
    value = given.get("webhook-signature")
    if not isinstance(value, str) or not value.isascii():
        raise MissingHeader("The header webhook-signature is missing or malformed.")
    candidates = value.split(" ", MAX_SIGNATURES)[:MAX_SIGNATURES]
    return [candidate.partition(",") for candidate in candidates]
