"""What a call can end with, beside its answer."""

from collections.abc import Mapping
from typing import Any


class AngariumError(Exception):
    """Any failure of a call; the message says what to do."""


class Unreachable(AngariumError):
    """No answer came: there is no connection, or it took too long."""


class Refused(AngariumError):
    """An answer came, with a status that is no success.

    `faults` has what is wrong by field, as the server tells it; `detail` what concerns no field.
    `request_id` finds the request in the server's log.
    """

    def __init__(self, status: int, answer: Any) -> None:
        body = dict(answer) if isinstance(answer, Mapping) else {}
        self.status = status
        self.request_id: str | None = body.pop("request_id", None)
        self.detail: str = str(body.pop("detail", ""))
        self.faults: dict[str, Any] = body
        super().__init__(self._message())

    def _message(self) -> str:
        faults = [
            _sentence(fault) if name == "non_field_errors" else f"{name}: {_sentence(fault)}"
            for name, fault in self.faults.items()
        ]
        return " ".join([self.detail, *faults]).strip() or f"The server answered {self.status}."


class Invalid(Refused):
    """400, 422: something in the request is no good."""


class Unauthorized(Refused):
    """401: the key is unknown, revoked or past its time."""


class Forbidden(Refused):
    """403: the key has not the scope for this."""


class NotFound(Refused):
    """404: there is no such thing, or it is not for this key."""


class Conflict(Refused):
    """409: it does not go with the state that things are in."""


class TooManyRequests(Refused):
    """429: the key's rate is used up for `retry_after` seconds."""

    def __init__(self, status: int, answer: Any, retry_after: float = 1.0) -> None:
        super().__init__(status, answer)
        self.retry_after = retry_after


BY_STATUS: Mapping[int, type[Refused]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Invalid,
}


def refused(status: int, answer: Any, retry_after: str | None = None) -> Refused:
    """The error for an answer's status and body (parsed JSON, or anything else)."""
    if status == 429:
        seconds = float(retry_after) if retry_after and retry_after.isdigit() else 1.0
        return TooManyRequests(status, answer, seconds)
    return BY_STATUS.get(status, Refused)(status, answer)


def _sentence(fault: Any) -> str:
    if isinstance(fault, list):
        return " ".join(map(_sentence, fault))
    if isinstance(fault, Mapping):
        return "; ".join(f"{name}: {_sentence(one)}" for name, one in fault.items())
    return str(fault)
