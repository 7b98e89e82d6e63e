"""What signs and what verifies, by Standard Webhooks 1.0, "Signature scheme".

Of HMAC-SHA256 (v1) both sides have the same secret, `whsec_…`. Of Ed25519 (v1a) the sender has the
private key, `whsk_…`, and the receiver the public one, `whpk_…`.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import ClassVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from webhooks.confidential import Confidential

HMAC_PREFIX, PRIVATE_PREFIX, PUBLIC_PREFIX = "whsec_", "whsk_", "whpk_"
HMAC_VERSION, ED25519_VERSION = "v1", "v1a"

HMAC_BYTES = range(24, 65)
ED25519_BYTES = 32

NO_SIGNING_SECRET = (
    f"A signing secret is {HMAC_PREFIX!r} and the base64 of {HMAC_BYTES.start} to "
    f"{HMAC_BYTES.stop - 1} random bytes, or {PRIVATE_PREFIX!r} and the base64 of an Ed25519 "
    "private key: make one with generate_secret()."
)
NO_VERIFYING_KEY = (
    f"Webhooks are verified with the {HMAC_PREFIX!r} or the {PUBLIC_PREFIX!r} that the sender "
    "shows: take it whole, prefix and base64."
)


class Kind(StrEnum):
    """A signature scheme."""

    HMAC = "hmac"
    ED25519 = "ed25519"


class InvalidSecret(ValueError):
    """What should sign or verify cannot. The message does not repeat it."""


@dataclass(frozen=True, slots=True)
class HmacKey:
    """Signs, and verifies what the same key has signed."""

    kind: ClassVar = Kind.HMAC
    public: ClassVar = ""
    key: bytes = field(repr=False)

    def sign(self, content: bytes) -> str:
        """One signature, as it stands in webhook-signature."""
        return f"{HMAC_VERSION},{self._digest(content).decode()}"

    def verifies(self, content: bytes, signatures: Sequence[tuple[str, str]]) -> bool:
        """Whether one of `signatures` (version and base64) is that of `content`."""
        right = self._digest(content)
        fits = False
        for version, signature in signatures:
            # No early end: the time taken tells nothing of which signature fits.
            fits |= version == HMAC_VERSION and hmac.compare_digest(signature.encode(), right)
        return fits

    def _digest(self, content: bytes) -> bytes:
        return base64.b64encode(hmac.digest(self.key, content, hashlib.sha256))


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """Signs by Ed25519."""

    kind: ClassVar = Kind.ED25519
    key: Ed25519PrivateKey = field(repr=False)

    def sign(self, content: bytes) -> str:
        """One signature, as it stands in webhook-signature."""
        return f"{ED25519_VERSION},{base64.b64encode(self.key.sign(content)).decode()}"

    @property
    def public(self) -> str:
        """The key that verifies, `whpk_…`."""
        raw = self.key.public_key().public_bytes_raw()
        return PUBLIC_PREFIX + base64.b64encode(raw).decode()


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Verifies what the private key has signed by Ed25519."""

    key: Ed25519PublicKey

    def verifies(self, content: bytes, signatures: Sequence[tuple[str, str]]) -> bool:
        """Whether one of `signatures` (version and base64) is that of `content`."""
        return any(
            version == ED25519_VERSION and self._fits(content, signature)
            for version, signature in signatures
        )

    def _fits(self, content: bytes, signature: str) -> bool:
        try:
            raw = base64.b64decode(signature, validate=True)
            self.key.verify(raw, content)
        except (ValueError, InvalidSignature):
            return False
        # Base64 can write the same bytes in several ways, of which one is right.
        return base64.b64encode(raw).decode() == signature


SigningKey = HmacKey | PrivateKey
VerifyingKey = HmacKey | PublicKey


def generate_secret(kind: Kind = Kind.HMAC) -> Confidential:
    """A new signing secret, from 32 random bytes."""
    prefix = HMAC_PREFIX if kind is Kind.HMAC else PRIVATE_PREFIX
    return Confidential(prefix + base64.b64encode(secrets.token_bytes(32)).decode())


# Every delivery signs; its secret is the same as the last delivery's to that endpoint.
@lru_cache(maxsize=10_000)
def signing_key(secret: str) -> SigningKey:
    """The key in a `whsec_` or a `whsk_`. Raises InvalidSecret.

    A private key may be followed by its public one, as some senders write it.
    """
    with suppress(ValueError):
        if secret.startswith(HMAC_PREFIX):
            return _hmac_key(_decoded(secret))
        if secret.startswith(PRIVATE_PREFIX):
            return _private_key(_decoded(secret))
    raise InvalidSecret(NO_SIGNING_SECRET)


@lru_cache(maxsize=10_000)
def verifying_key(key: str) -> VerifyingKey:
    """The key in a `whsec_` or a `whpk_`. Raises InvalidSecret."""
    with suppress(ValueError):
        if key.startswith(HMAC_PREFIX):
            return _hmac_key(_decoded(key))
        if key.startswith(PUBLIC_PREFIX):
            return PublicKey(Ed25519PublicKey.from_public_bytes(_decoded(key)))
    raise InvalidSecret(NO_VERIFYING_KEY)


def _decoded(prefixed: str) -> bytes:
    return base64.b64decode(prefixed.partition("_")[2], validate=True)


def _hmac_key(raw: bytes) -> HmacKey:
    if len(raw) not in HMAC_BYTES:
        raise ValueError
    return HmacKey(raw)


def _private_key(raw: bytes) -> PrivateKey:
    key = Ed25519PrivateKey.from_private_bytes(raw[:ED25519_BYTES])
    if raw[ED25519_BYTES:] not in (b"", key.public_key().public_bytes_raw()):
        raise ValueError
    return PrivateKey(key)
