"""Bars and a line over time, as numbers for a drawing in a page. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

WIDTH, BARS, LINE = 600, 100, 40
"""Units of the drawing: how wide it is; how high the bars are, and the line below them."""

LABEL_EVERY = 6


@dataclass(frozen=True, slots=True)
class Bucket:
    """The attempts that ended in an hour, or on a day."""

    attempts: int = 0
    delivered: int = 0
    median_ms: int | None = None
    slow_ms: int | None = None
    """95 of 100 took no longer."""

    @property
    def rate(self) -> str:
        """How many of them succeeded."""
        return f"{self.delivered / self.attempts:.0%}" if self.attempts else "-"


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened meanwhile."""

    at: datetime
    what: str
    by: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A bucket, where it stands."""

    begins: datetime
    bucket: Bucket
    x: float
    width: float
    failed_y: float
    failed_height: float
    delivered_y: float
    delivered_height: float
    label: str
    """Under it; most have none."""


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    bars: tuple[Bar, ...]
    line: str
    """The points of the slow ones' line, in the order of time."""
    marks: tuple[tuple[float, Mark], ...]
    """Where each is."""
    most: int
    """What the height of the bars stands for."""
    slowest_ms: int
    """What the height of the line stands for."""
    total: Bucket


def draw(
    title: str,
    begins: datetime,
    step: timedelta,
    count: int,
    buckets: Mapping[datetime, Bucket],
    marks: Iterable[Mark],
) -> Chart:
    """A chart of `count` buckets of a `step` each; those that are missing are empty."""
    times = [begins + number * step for number in range(count)]
    row = [(time, buckets.get(time, Bucket())) for time in times]
    most = max(1, *(bucket.attempts for _, bucket in row))
    slowest = max(1, *(bucket.slow_ms or 0 for _, bucket in row))
    width = WIDTH / count
    span = count * step
    return Chart(
        title=title,
        bars=tuple(_bars(row, step, width, BARS / most)),
        line=" ".join(
            f"{(number + 0.5) * width:.1f},{LINE * (1 - bucket.slow_ms / slowest):.1f}"
            for number, (_, bucket) in enumerate(row)
            if bucket.slow_ms is not None
        ),
        marks=tuple(
            (WIDTH * ((mark.at - begins) / span), mark)
            for mark in marks
            if begins <= mark.at < begins + span
        ),
        most=most,
        slowest_ms=slowest,
        total=Bucket(
            sum(bucket.attempts for _, bucket in row), sum(bucket.delivered for _, bucket in row)
        ),
    )


def _bars(
    row: list[tuple[datetime, Bucket]], step: timedelta, width: float, scale: float
) -> Iterator[Bar]:
    written = "%d %b" if step >= timedelta(days=1) else "%H:%M"
    for number, (time, bucket) in enumerate(row):
        delivered = bucket.delivered * scale
        failed = (bucket.attempts - bucket.delivered) * scale
        yield Bar(
            begins=time,
            bucket=bucket,
            x=number * width,
            width=width,
            failed_y=BARS - delivered - failed,
            failed_height=failed,
            delivered_y=BARS - delivered,
            delivered_height=delivered,
            label=time.strftime(written) if number % LABEL_EVERY == 0 else "",
        )
