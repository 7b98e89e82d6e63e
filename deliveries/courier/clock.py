"""The time that an event loop has had: what holds it up is nobody else's slowness."""

import time
from collections.abc import Callable

LONGEST_SLEEP = 1.0
"""Seconds that kombu's Hub sleeps at most before it calls `on_tick` again."""


class LoopClock:
    """Seconds since some moment, without those in which the loop stood still.

    It has to be read whenever the loop comes round. A gap that is longer than a loop ever sleeps is
    a loop that was held up, by a broker that says nothing or a machine that was asleep.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._read_at = monotonic()
        self._now = 0.0

    def read(self) -> float:
        read_at = self._monotonic()
        gap, self._read_at = read_at - self._read_at, read_at
        if gap <= 1.5 * LONGEST_SLEEP:
            self._now += gap
        return self._now
