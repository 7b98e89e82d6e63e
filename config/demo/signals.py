"""Ctrl-C, SIGTERM and SIGHUP: each ends the demo in order, and never in the middle of a start."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class EndSignals:
    """Makes one KeyboardInterrupt of whatever signals ask for the end."""

    def __init__(self) -> None:
        self.asked = False
        self.shields = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._take)

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        again, self.asked = self.asked, True
        if not again and not self.shields:
            raise KeyboardInterrupt

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Put the KeyboardInterrupt off until what was begun in here is ready to be ended."""
        self.shields += 1
        try:
            yield
        finally:
            self.shields -= 1
            if self.asked:
                raise KeyboardInterrupt

    def ignore(self) -> None:
        """From here on the demo is ending anyway."""
        self.asked = True
