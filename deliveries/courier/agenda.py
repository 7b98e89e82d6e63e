"""What is to be done at a time of its own, on whichever clock the caller keeps to. Pure."""

import heapq
from itertools import count
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class Agenda(Generic[Entry]):
    """Entries, each for a time; those for the same time keep their order."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Entry]] = []
        self._places = count()

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, when: float, entry: Entry) -> None:
        heapq.heappush(self._heap, (when, next(self._places), entry))

    def due(self, now: float) -> list[Entry]:
        """Take out what is due, the earliest first."""
        entries = []
        while self._heap and self._heap[0][0] <= now:
            entries.append(heapq.heappop(self._heap)[2])
        return entries

    def clear(self) -> list[Entry]:
        """Take out all that there is."""
        return self.due(float("inf"))
