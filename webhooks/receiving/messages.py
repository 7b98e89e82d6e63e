"""A verified webhook -> the events it tells of."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from webhooks.formats import BATCH_TYPE
from webhooks.signing import VerifiedMessage


class NotAnEvent(ValueError):
    """A body that does not have the payload structure of Standard Webhooks."""


@dataclass(frozen=True, slots=True)
class Message:
    """An event as its receiver sees it."""

    id: str
    """The event's id: the same however often it is sent. The webhook-id, outside a batch."""
    type: str
    occurred_at: datetime
    data: Any
    sent_at: datetime
    """When this attempt was signed."""
    body: bytes
    """The request's body, as it was signed: a batch's is that of all its events."""


def read(verified: VerifiedMessage) -> list[Message]:
    """Take a verified body apart: one event, or the several of a batch, each with its own id.

    Raises NotAnEvent where it is no {type, timestamp, data}.
    """
    try:
        content = verified.json()
        sent_at = datetime.fromtimestamp(verified.timestamp, UTC)
        if content["type"] != BATCH_TYPE:
            return [_message(verified.id, content, sent_at, verified.body)]
        return [_message(one["id"], one, sent_at, verified.body) for one in content["data"]]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise NotAnEvent("The body needs a type, a timestamp (ISO 8601) and data.") from error


def _message(message_id: str, content: Any, sent_at: datetime, body: bytes) -> Message:
    if not isinstance(message_id, str) or not isinstance(content["type"], str):
        raise TypeError("id and type are strings")
    occurred_at = datetime.fromisoformat(content["timestamp"])
    return Message(message_id, content["type"], occurred_at, content["data"], sent_at, body)
