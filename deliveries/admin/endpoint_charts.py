"""The charts of how an endpoint has fared, of plain data. Times are in UTC."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from deliveries.charts import HALF, Chart, Column, Mark, Series, Value
from deliveries.dashboard.words import counted, lasted


@dataclass(frozen=True, slots=True)
class Tally:
    """The attempts that ended in an hour, or on a day."""

    attempts: int = 0
    delivered: int = 0
    p50: int | None = None
    """Milliseconds that half of them took no longer than."""
    p95: int | None = None

    @property
    def failed(self) -> int:
        return self.attempts - self.delivered


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened meanwhile."""

    at: datetime
    what: str
    by: str


@dataclass(frozen=True, slots=True)
class Times:
    """So many hours or days, one after the other."""

    name: str
    begin: datetime
    step: timedelta
    count: int
    written: str
    """How each is, for strftime."""

    def place(self, at: datetime) -> float:
        """How many of them have gone by until then."""
        return (at - self.begin) / self.step

    def __iter__(self) -> Iterator[datetime]:
        return (self.begin + number * self.step for number in range(self.count))


NO_TALLY = Tally()
ATTEMPTS = [Series("delivered", "good"), Series("failed", "bad")]
PERCENTILES = [Series("p50", "low"), Series("p95", "middle")]


def attempts_chart(
    times: Times, tallies: Mapping[datetime, Tally], changes: Sequence[Change]
) -> Chart:
    """Bars; times that have no tally had no attempt."""
    told = [tally for time, tally in tallies.items() if time >= times.begin]
    attempts = sum(tally.attempts for tally in told)
    delivered = sum(tally.delivered for tally in told)
    share = f", {delivered / attempts:.0%} of which delivered" if attempts else ""
    return Chart(
        f"attempts-by-{times.name}",
        f"Attempts by the {times.name}",
        ATTEMPTS,
        _columns(times, tallies, ATTEMPTS),
        said=counted,
        marks=_marks(times, changes),
        note=f"{counted(attempts)} attempts{share}.",
        width=HALF,
    )


def durations_chart(
    times: Times, tallies: Mapping[datetime, Tally], changes: Sequence[Change]
) -> Chart:
    """Lines."""
    return Chart(
        f"durations-by-{times.name}",
        f"How long attempts took, by the {times.name}",
        PERCENTILES,
        _columns(times, tallies, PERCENTILES),
        said=lasted,
        marks=_marks(times, changes),
        width=HALF,
    )


def _columns(
    times: Times, tallies: Mapping[datetime, Tally], series: Sequence[Series]
) -> list[Column]:
    return [
        Column(
            time.strftime(times.written),
            f"{time:%Y-%m-%d %H:%M}",
            [Value(getattr(tallies.get(time, NO_TALLY), one.name)) for one in series],
        )
        for time in times
    ]


def _marks(times: Times, changes: Sequence[Change]) -> list[Mark]:
    return [
        Mark(times.place(change.at), f"{change.at:%Y-%m-%d %H:%M}: {change.what}, by {change.by}")
        for change in changes
        if 0 <= times.place(change.at) < times.count
    ]
