"""Events as the bodies of requests: Standard Webhooks and CloudEvents, alone and in batches."""

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from webhooks.payloads import envelope, timestamp

BATCH_TYPE = "angarium.batch"


class Format(StrEnum):
    """How an event is written down."""

    STANDARD = "standard"
    CLOUDEVENTS = "cloudevents"
    CLOUDEVENTS_BINARY = "cloudevents_binary"


@dataclass(frozen=True, slots=True)
class Message:
    """An event to be written down."""

    id: str
    type: str
    """Dotted words, which need no escaping."""
    source: str
    """A URI reference: which application the event comes from (CloudEvents, "source")."""
    occurred_at: datetime
    data: str | None
    """JSON text, which goes in as it is. None where the receiver is to fetch it from `link`."""
    link: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """A body, and the headers that say what it is."""

    body: bytes = field(repr=False)
    headers: Mapping[str, str]


def written(message: Message, format: Format) -> Content:
    """One event in the format."""
    if format is Format.STANDARD:
        body = envelope(message.type, message.occurred_at, _standard_data(message))
        return Content(body, {"content-type": "application/json"})
    if format is Format.CLOUDEVENTS:
        headers = {"content-type": "application/cloudevents+json; charset=utf-8"}
        return Content(_cloud_event(message).encode(), headers)
    return _binary(message)


def batch(messages: Sequence[Message], format: Format) -> Content:
    """Several events in one body.

    In the standard format: {type: "angarium.batch", timestamp: the last event's, data: [{id, type,
    timestamp, data}, …]}. In either format of CloudEvents: its batch format (JSON event format,
    section 4), which the binary mode has not.
    """
    if format is Format.STANDARD:
        items = ",".join(item(one) for one in messages)
        last = max(one.occurred_at for one in messages)
        return Content(
            envelope(BATCH_TYPE, last, f"[{items}]"), {"content-type": "application/json"}
        )
    items = ",".join(_cloud_event(one) for one in messages)
    headers = {"content-type": "application/cloudevents-batch+json; charset=utf-8"}
    return Content(f"[{items}]".encode(), headers)


def item(message: Message) -> str:
    """One of several events in the standard format: {id, type, timestamp, data}."""
    return (
        f'{{"id":"{message.id}","type":"{message.type}",'
        f'"timestamp":"{timestamp(message.occurred_at)}","data":{_standard_data(message)}}}'
    )


def compressed(content: Content) -> Content:
    """The content in gzip, the same bytes each time."""
    body = gzip.compress(content.body, 6, mtime=0)
    return Content(body, {**content.headers, "content-encoding": "gzip"})


def _standard_data(message: Message) -> str:
    if message.data is not None:
        return message.data
    return json.dumps({"id": message.id, "url": message.link}, separators=(",", ":"))


def _cloud_event(message: Message) -> str:
    """CloudEvents 1.0 in structured mode; `dataref` is its Claim Check extension."""
    if message.data is not None:
        content = f'"datacontenttype":"application/json","data":{message.data}'
    else:
        content = f'"dataref":{json.dumps(message.link)}'
    return (
        f'{{"specversion":"1.0","id":"{message.id}","source":{json.dumps(message.source)},'
        f'"type":"{message.type}","time":"{timestamp(message.occurred_at)}",{content}}}'
    )


def _binary(message: Message) -> Content:
    """CloudEvents 1.0 in binary mode (HTTP protocol binding, section 3.1).

    Percent signs are escaped (3.1.3.2); what else would need it is in no URI reference.
    """
    headers = {
        "ce-specversion": "1.0",
        "ce-id": message.id,
        "ce-source": message.source.replace("%", "%25"),
        "ce-type": message.type,
        "ce-time": timestamp(message.occurred_at),
    }
    if message.data is None:
        return Content(b"", {**headers, "ce-dataref": message.link.replace("%", "%25")})
    return Content(message.data.encode(), {"content-type": "application/json", **headers})
