"""How many deliveries one endpoint may have in flight, and what becomes of those beyond. Pure.

A quick endpoint's burst waits at the gate for a moment. A slow endpoint's goes back to the rows, to
come again when its turn may be expected, so that it holds nobody else up.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Waiter = TypeVar("Waiter")

PATIENCE = 1.0
"""Seconds that a delivery may be expected to wait at the gate before it is sent back."""

LONGEST_ABSENCE = 60.0
"""Seconds after which one that was sent back comes again at the latest."""

SMOOTHING = 0.2
"""The weight of the newest exchange in the mean duration."""


@dataclass(slots=True)
class Gate(Generic[Waiter]):
    """One endpoint's gate. Times are in seconds, on whichever clock the caller keeps to."""

    limit: int
    mean_duration: float = 0.0
    under_way: dict[Waiter, float] = field(default_factory=dict)
    """What is in flight, and when it began: oldest first."""
    waiting: deque[Waiter] = field(default_factory=deque)
    next_turn: float = 0.0
    """When the next one that is sent back may come again."""

    @property
    def idle(self) -> bool:
        return not self.under_way and not self.waiting

    def enter(self, waiter: Waiter, now: float) -> bool:
        """Let it pass, if there is room; otherwise it waits."""
        if len(self.under_way) < self.limit:
            self.under_way[waiter] = now
            return True
        self.waiting.append(waiter)
        return False

    def leave(self, waiter: Waiter, now: float) -> Waiter | None:
        """Note the end of an exchange; returns the next one that may pass, which then has."""
        took = now - self.under_way.pop(waiter)
        self.mean_duration += SMOOTHING * (took - self.mean_duration)
        if self.waiting and len(self.under_way) < self.limit:
            following = self.waiting.popleft()
            self.under_way[following] = now
            return following
        return None

    def duration(self, now: float) -> float:
        """How long an exchange takes here, as far as can be told by now."""
        oldest = next(iter(self.under_way.values()), now)
        return max(self.mean_duration, now - oldest)

    def send_back(self, now: float) -> list[tuple[Waiter, float]]:
        """Those who would wait too long, each with the seconds after which to come again.

        They come one after the other, at the pace that the endpoint keeps.
        """
        pace = self.duration(now) / self.limit
        if pace <= 0:
            return []
        may_stay = int(PATIENCE / pace)
        sent_back = [self.waiting.pop() for _ in range(len(self.waiting) - may_stay)]
        returns = []
        for waiter in reversed(sent_back):
            self.next_turn = max(self.next_turn, now + PATIENCE) + pace
            returns.append((waiter, min(self.next_turn - now, LONGEST_ABSENCE)))
        return returns
