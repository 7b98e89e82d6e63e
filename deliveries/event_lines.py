"""Events written down as JSON lines (one JSON object a line, in UTF-8), read as a stream."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
KEYS = (
    *("type", "data", "subscriber", "channels"),
    *("idempotency_key", "ordering_key", "occurred_at"),
)


class BadLine(ValueError):
    """A line that is not an event."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not blank. Its number counts from 1, blank lines too, as editors do."""

    number: int
    text: bytes | None
    """None where the line is longer than the limit."""


@dataclass(frozen=True, slots=True)
class WrittenEvent:
    """What a line says, by the names of emit()'s arguments."""

    type: str
    data: Any
    subscriber: str | None = None
    channels: list[str] | None = None
    idempotency_key: str | None = None
    ordering_key: str | None = None
    occurred_at: datetime | None = None


def read_lines(stream: IO[bytes], *, limit: int) -> Iterator[Line]:
    """The lines of `stream`. However long one is, no more than `limit` bytes of it are held."""
    number = 0
    while piece := stream.readline(limit + 1):
        number += 1
        text: bytes | None = piece.removeprefix(BYTE_ORDER_MARK) if number == 1 else piece
        while len(piece) > limit and not piece.endswith(b"\n"):
            text = None
            piece = stream.readline(limit + 1)
        if text is None or text.strip():
            yield Line(number, text)


def parse(text: bytes) -> WrittenEvent:
    """Read one line. Raises BadLine, which says what is wrong with it."""
    written = _json(text)
    if not isinstance(written, dict):
        raise BadLine("It is not a JSON object.")
    for key in written:
        if key not in KEYS:
            raise BadLine(f"The key {key[:40]!r} is unknown: use {', '.join(KEYS)}.")
    for key in ("type", "data"):
        if key not in written:
            raise BadLine(f"It has no {key!r}.")
    for key in ("type", "subscriber", "idempotency_key", "ordering_key", "occurred_at"):
        if not isinstance(written.get(key, ""), str):
            raise BadLine(f"{key!r} is not a string.")
    if not isinstance(written.get("channels", []), list):
        raise BadLine("'channels' is not a list.")
    if "occurred_at" in written:
        written["occurred_at"] = _time(written["occurred_at"])
    return WrittenEvent(**written)


def _json(text: bytes) -> Any:
    try:
        return json.loads(text.decode())
    except UnicodeDecodeError as error:
        raise BadLine(f"It is not UTF-8 (byte {error.start + 1}).") from error
    except json.JSONDecodeError as error:
        raise BadLine(f"It is not JSON: {error.msg} (column {error.colno}).") from error
    except ValueError as error:
        raise BadLine("It has a number that is too long.") from error
    except RecursionError as error:
        raise BadLine("It is nested too deeply.") from error


def _time(written: str) -> datetime:
    try:
        time = datetime.fromisoformat(written)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise BadLine(
            f"'occurred_at' is {written[:40]!r}, which is no time with a zone: write it as "
            "2026-01-31T12:00:00Z."
        )
    return time
