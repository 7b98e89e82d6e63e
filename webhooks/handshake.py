"""The handshake: an endpoint shows that it wants webhooks by repeating a challenge.

The challenge comes as an event of a type of its own, signed like any other:

    {"type": "angarium.handshake", "timestamp": "…", "data": {"challenge": "…"}}

The answer is 2xx with the challenge as its body, in plain text or as {"challenge": "…"}. Each
challenge is good for the one exchange that it is sent in.
"""

import json
import secrets
from contextlib import suppress
from typing import Any

HANDSHAKE_TYPE = "angarium.handshake"


class NoChallenge(ValueError):
    """Something that should have a challenge in it has none."""


def new_challenge() -> str:
    """A text that nobody can guess."""
    return secrets.token_urlsafe(32)


def challenge_in(data: Any) -> str:
    """The challenge in {"challenge": "…"}. Raises NoChallenge."""
    challenge = data.get("challenge") if isinstance(data, dict) else None
    if not isinstance(challenge, str):
        raise NoChallenge('The data of a handshake is {"challenge": "…"}.')
    return challenge


def repeats(answer: str, challenge: str) -> bool:
    """Whether the body of an answer has the challenge, in either form; in constant time."""
    text = answer.strip()
    with suppress(ValueError, RecursionError):  # which say that it is the text itself, if anything
        text = challenge_in(json.loads(text))
    return secrets.compare_digest(text.encode("utf-8", "replace"), challenge.encode())
