"""Signatures in the style of other senders, for receivers that have long verified theirs.

A profile adds its own headers to those of Standard Webhooks. Its key is the secret's text as it
stands, a prefix such as `whsec_` included; so a secret may be any text that those receivers know.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from enum import StrEnum

from webhooks import signing
from webhooks.keys import (
    PRIVATE_PREFIX,
    PUBLIC_PREFIX,
    HmacKey,
    InvalidSecret,
    Kind,
    SigningKey,
    signing_key,
)

TEXT = re.compile(r"[!-~][ -~]{14,253}[!-~]")

NO_TEXT = (
    "A secret of one's own has 16 to 255 characters: printable ASCII, without spaces around it."
)
NO_ED25519 = (
    "Ed25519 is for the Standard Webhooks profile: this one signs with HMAC-SHA256, so use an "
    "hmac secret."
)


class Profile(StrEnum):
    """Whose style a webhook is signed in."""

    STANDARD = "standard"
    """Standard Webhooks 1.0, and nothing else."""
    GITHUB = "github"
    """X-Hub-Signature-256, over the body."""
    STRIPE = "stripe"
    """Stripe-Signature, over timestamp and body: one for each secret."""
    SLACK = "slack"
    """X-Slack-Signature, over X-Slack-Request-Timestamp and the body."""


def signs_with(profile: str, kind: str) -> bool:
    """Whether a profile can sign with secrets of a kind; NO_ED25519 says why not."""
    return profile == Profile.STANDARD or kind == Kind.HMAC


def key_of(profile: str, secret: str) -> SigningKey:
    """The key in a secret with which a profile signs. Raises InvalidSecret."""
    if profile == Profile.STANDARD:
        return signing_key(secret)
    if secret.startswith((PRIVATE_PREFIX, PUBLIC_PREFIX)):
        raise InvalidSecret(NO_ED25519)
    if not TEXT.fullmatch(secret):
        raise InvalidSecret(NO_TEXT)
    return HmacKey(secret.encode())


def headers(
    profile: str, message_id: str, timestamp: int, body: bytes, secrets: Sequence[str]
) -> dict[str, str]:
    """The headers of a webhook, signed in a profile's style; `secrets` are the newest first.

    Where there is room for one signature, it is of the oldest secret: the receiver knows that one,
    and has until it expires to learn the next. webhook-signature has all secrets of its own form,
    and is left out where there is none. Raises as `key_of` and `signing.sign` do.
    """
    sign = _SIGN.get(profile)
    if sign is None:
        return signing.headers(message_id, timestamp, body, secrets)
    standard = [secret for secret in secrets if _is_standard(secret)]
    signed = signing.headers(message_id, timestamp, body, standard)
    if not standard:
        del signed["webhook-signature"]
    return signed | sign(timestamp, body, secrets)


def _is_standard(secret: str) -> bool:
    try:
        signing_key(secret)
    except InvalidSecret:
        return False
    return True


def _github(timestamp: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    # "Validating webhook deliveries" in GitHub's documentation.
    return {"x-hub-signature-256": f"sha256={_signature(secrets[-1], body)}"}


def _stripe(timestamp: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    # "Verify webhook signatures manually" in Stripe's documentation.
    content = b"%d.%b" % (timestamp, body)
    signatures = [f"v1={_signature(secret, content)}" for secret in secrets]
    return {"stripe-signature": ",".join([f"t={timestamp}", *signatures])}


def _slack(timestamp: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    # "Verifying requests from Slack" in Slack's documentation.
    content = b"v0:%d:%b" % (timestamp, body)
    return {
        "x-slack-request-timestamp": str(timestamp),
        "x-slack-signature": f"v0={_signature(secrets[-1], content)}",
    }


def _signature(secret: str, content: bytes) -> str:
    return hmac.digest(secret.encode(), content, hashlib.sha256).hex()


_SIGN: dict[str, Callable[[int, bytes, Sequence[str]], dict[str, str]]] = {
    Profile.GITHUB: _github,
    Profile.STRIPE: _stripe,
    Profile.SLACK: _slack,
}

HEADERS = frozenset(
    {"stripe-signature", "x-hub-signature-256", "x-slack-request-timestamp", "x-slack-signature"}
)
"""What the profiles set."""
