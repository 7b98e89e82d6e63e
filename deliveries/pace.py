"""How requests to one endpoint follow each other: at a rate, after a burst. Pure, in seconds.

The clock of a pace is the time at which everything that was let pass would have been spent at the
bare rate (the generic cell rate algorithm, ITU-T I.371): `ahead` is how far that is in the future.
"""

from dataclasses import dataclass
from functools import cache
from typing import Self

from subscriptions.rates import Rate


@dataclass(frozen=True, slots=True)
class Pace:
    """One request after another, `interval` apart; up to `burst` of them at once after a pause."""

    interval: float
    burst: int

    @classmethod
    def of(cls, rate: str, burst: int | None = None) -> Self:
        """The pace of a rate, as in 100/s; its burst is what comes in a second unless given.

        Raises rates.InvalidRate.
        """
        parsed = Rate.parse(rate)
        in_a_second = parsed.quota // parsed.window
        return cls(parsed.window / parsed.quota, burst or max(1, in_a_second))

    @property
    def tolerance(self) -> float:
        """How far the clock may be ahead for one more to pass at once."""
        return (self.burst - 1) * self.interval

    def waits(self, ahead: float, count: int) -> list[float]:
        """How long each of `count` that were let pass has to wait for its turn."""
        return [max(0.0, ahead + place * self.interval - self.tolerance) for place in range(count)]


@cache
def pace_of(rate: str, burst: int | None = None) -> Pace | None:
    """The pace of an endpoint; None where there is no rate."""
    return Pace.of(rate, burst) if rate else None
