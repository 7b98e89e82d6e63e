"""A receiver's answer that keeps every request waiting until the test lets them go."""

import threading

from tests.receiver import Answer


class Turnstile:
    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        """How many were inside at once, at most."""
        self.answer = Answer()
        self._opened = threading.Event()
        self._counting = threading.Lock()

    def __call__(self, *_: object) -> Answer:
        with self._counting:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self._opened.wait(60)
        with self._counting:
            self.inside -= 1
        return self.answer

    def open(self) -> None:
        self._opened.set()

    def close(self) -> None:
        self._opened.clear()
