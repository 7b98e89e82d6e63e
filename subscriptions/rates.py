"""How often a key may call: a rate, as people write it (100/s)."""

import re
from dataclasses import dataclass
from typing import Self

RATE_PATTERN = r"^[1-9][0-9]{0,8}/[smhd]$"
WINDOWS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class InvalidRate(ValueError):
    """A rate that is none."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in a window of so many seconds, all of them at once if need be."""

    quota: int
    window: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `100/s` (or /m, /h, /d). Raises InvalidRate."""
        if not re.fullmatch(RATE_PATTERN, text):
            raise InvalidRate(
                f"{text!r} is not a rate: write a number and /s, /m, /h or /d, as in 100/s."
            )
        quota, unit = text.split("/")
        return cls(int(quota), WINDOWS[unit])
