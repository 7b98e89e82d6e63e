"""The times that the dashboard can show, in parts, and the spans of them that are sampled."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SLICES = 10
"""A sample is taken in so many places of each part."""

GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` until before `end`."""

    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Period:
    """A time that ends now, in parts that begin at full minutes or hours."""

    key: str
    name: str
    part: timedelta
    parts: int
    label: str
    """How the start of a part is written, for strftime."""
    per: str
    """What a part is called."""

    def split(self, now: datetime) -> list[Span]:
        """The parts, the last of them under way."""
        begun = (now - datetime.min.replace(tzinfo=UTC)) // self.part
        first = datetime.min.replace(tzinfo=UTC) + self.part * (begun - self.parts + 1)
        return [
            Span(first + self.part * number, first + self.part * (number + 1))
            for number in range(self.parts)
        ]


HOUR = Period("hour", "Last hour", timedelta(minutes=1), 60, "%H:%M", "minute")
DAY = Period("day", "Last 24 hours", timedelta(minutes=30), 48, "%H:%M", "half hour")
WEEK = Period("week", "Last 7 days", timedelta(hours=2), 84, "%a %H:%M", "two hours")
PERIODS = (HOUR, DAY, WEEK)


def period_named(key: str | None) -> Period:
    """The one of that key; the last hour, where there is none."""
    return next((period for period in PERIODS if period.key == key), HOUR)


def sampled(parts: Sequence[Span], share: float) -> Iterator[tuple[int, Span]]:
    """Spans that together have so great a share of each part, and the number of their part.

    They are spread by the golden ratio, so that what happens at every full minute, say, is neither
    always in the sample nor never. All of the part is one span.
    """
    for number, part in enumerate(parts):
        if share == 1:
            yield number, part
            continue
        slice_ = part.length / SLICES
        for place in range(SLICES):
            turn = math.fmod((number * SLICES + place) * GOLDEN, 1)
            start = part.start + slice_ * (place + turn * (1 - share))
            yield number, Span(start, start + slice_ * share)
