"""The names of event types, and the patterns by which a subscription asks for them."""

import re

MAX_LENGTH = 128
NAME = r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*"
NAME_PATTERN = rf"\A{NAME}\Z"
SUBSCRIPTION_PATTERN = rf"\A(\*|{NAME}(\.\*)?)\Z"
MAX_FLAG_LENGTH = 64
FLAG_PATTERN = r"\A[A-Za-z0-9_.-]+\Z"


class InvalidEventType(ValueError):
    """An event type's name, or a pattern for names, that is not well formed."""


class UnknownEventType(InvalidEventType):
    """An event type that is not in the catalogue, where that must be."""


def check_name(name: str) -> None:
    """Raise InvalidEventType unless `name` is dotted words, as in `invoice.paid`."""
    if not isinstance(name, str) or len(name) > MAX_LENGTH or not re.fullmatch(NAME, name):
        raise InvalidEventType(
            f"{str(name)[:MAX_LENGTH]!r} is not an event type: use words of letters, digits, '_' "
            f"and '-', joined by full stops, as in 'invoice.paid'; {MAX_LENGTH} characters at most."
        )


def patterns_matching(name: str) -> list[str]:
    """Every pattern that matches the event type `name`, most exact first.

    >>> patterns_matching("invoice.paid.late")
    ['invoice.paid.late', 'invoice.paid.*', 'invoice.*', '*']
    """
    words = name.split(".")
    prefixes = [".".join(words[:count]) for count in range(len(words) - 1, 0, -1)]
    return [name, *(f"{prefix}.*" for prefix in prefixes), "*"]
