"""A verified webhook -> the event it tells of."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from webhooks.signing import VerifiedMessage


class NotAnEvent(ValueError):
    """A body that does not have the payload structure of Standard Webhooks."""


@dataclass(frozen=True, slots=True)
class Message:
    """An event as its receiver sees it."""

    id: str
    """The webhook-id: the same however often the message is sent."""
    type: str
    occurred_at: datetime
    data: Any
    sent_at: datetime
    """When this attempt was signed."""
    body: bytes
    """The request's body as it came."""


def read(verified: VerifiedMessage) -> Message:
    """Take a verified body apart. Raises NotAnEvent where it is no {type, timestamp, data}."""
    try:
        content = verified.json()
        occurred_at = datetime.fromisoformat(content["timestamp"])
        event_type, data = content["type"], content["data"]
        sent_at = datetime.fromtimestamp(verified.timestamp, UTC)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise NotAnEvent("The body needs a type, a timestamp (ISO 8601) and data.") from error
    if not isinstance(event_type, str):
        raise NotAnEvent("The type must be a string.")
    return Message(verified.id, event_type, occurred_at, data, sent_at, verified.body)
