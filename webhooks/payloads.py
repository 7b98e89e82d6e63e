"""Events as bytes: what is sent for an event, and what cannot be."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

MAX_DEPTH = 64
LONGEST_KEY_SHOWN = 40


class InvalidPayload(ValueError):
    """Data that is no JSON, too deep or too large; the message says what, and where."""


def encode(data: Any, *, max_bytes: int, max_depth: int = MAX_DEPTH) -> str:
    """The JSON text of an event's data: compact, non-ASCII as it is.

    Stricter than json.dumps: keys are strings, numbers are finite, text is encodable. Raises
    InvalidPayload, whatever `data` is.
    """
    _check(data, max_depth)
    try:
        text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
        size = len(text.encode())
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidPayload(f"$ is not JSON: {error}.") from error
    if size > max_bytes:
        raise InvalidPayload(
            f"$ has {size} bytes as JSON, more than the {max_bytes} allowed: "
            "send less, and let the receiver fetch the rest."
        )
    return text


def envelope(event_type: str, occurred_at: datetime, data: str) -> bytes:
    """The body of a webhook (Standard Webhooks, "Payload structure").

    `event_type` needs no escaping; `data` is JSON text and goes in as it is, so that every attempt
    sends the same bytes.
    """
    time = timestamp(occurred_at)
    return f'{{"type":"{event_type}","timestamp":"{time}","data":{data}}}'.encode()


def timestamp(time: datetime) -> str:
    """An aware time in UTC, as in 2026-01-31T12:00:00Z (RFC 3339)."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _check(data: Any, max_depth: int) -> None:
    """Walk without recursing; refuse what json.dumps would bend, or could not survive."""
    walk: list[Iterator[tuple[Any, Any]]] = [iter([("$", data)])]
    path: list[Any] = []
    while walk:
        for key, value in walk[-1]:
            del path[len(walk) - 1 :]
            path.append(key)
            kind = type(value)
            if kind is int or kind is bool or value is None:
                continue
            if isinstance(value, str):
                _check_text(value, path, "")
            elif isinstance(value, float):
                if value != value or value in (float("inf"), float("-inf")):
                    raise InvalidPayload(f"{_show(path)} is {value}, which JSON cannot say.")
            elif isinstance(value, dict):
                for name in value:
                    if not isinstance(name, str):
                        raise InvalidPayload(
                            f"{_show(path)} has the key {str(name)[:LONGEST_KEY_SHOWN]!r}, a "
                            f"{type(name).__name__}: keys must be strings."
                        )
                    _check_text(name, path, "a key of ")
                walk.append(iter(value.items()))
                break
            elif isinstance(value, list | tuple):
                walk.append(iter(enumerate(value)))
                break
            elif not isinstance(value, int):
                raise InvalidPayload(
                    f"{_show(path)} is a {kind.__name__}: turn it into a string, number, list or "
                    "dict first."
                )
        else:
            walk.pop()
        if len(walk) - 1 > max_depth:
            raise InvalidPayload(f"{_show(path[:8])}… is more than {max_depth} levels deep.")


def _check_text(text: str, path: list[Any], what: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidPayload(
                f"{what}{_show(path)} holds a lone surrogate, which UTF-8 cannot say."
            ) from error


def json_path(steps: Sequence[str | int]) -> str:
    """The way to a value inside data, as in $.lines[3].price; long names are cut."""
    shown = "".join(
        f"[{step}]" if isinstance(step, int) else f".{step[:LONGEST_KEY_SHOWN]}" for step in steps
    )
    return f"${shown}".encode("utf-8", "replace").decode()


def _show(path: list[Any]) -> str:
    return json_path(path[1:])
