"""How many deliveries one endpoint may have in flight, and what becomes of those beyond. Pure.

An endpoint that asks for less (429, 502, 504) has half as many let in, and bit by bit more again
as it takes what it gets. A quick endpoint's burst waits at the gate for a moment. A slow endpoint's
goes back to the rows, to come again when its turn may be expected, so that it holds nobody else up.
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
    share: float = 1.0
    """Of the limit, that the endpoint is given just now."""
    slowed_at: float = float("-inf")

    @property
    def idle(self) -> bool:
        return not self.under_way and not self.waiting

    @property
    def width(self) -> int:
        """How many may be in flight just now."""
        return max(1, int(self.limit * self.share))

    def enter(self, waiter: Waiter, now: float) -> bool:
        """Let it pass, if there is room; otherwise it waits."""
        if len(self.under_way) < self.width:
            self.under_way[waiter] = now
            return True
        self.waiting.append(waiter)
        return False

    def leave(
        self, waiter: Waiter, now: float, *, throttled: bool = False, taken: bool = True
    ) -> list[Waiter]:
        """Note the end of an exchange; returns those who may pass then, which they have.

        `throttled` says that the endpoint asked for less, `taken` that it took what it got.
        """
        began = self.under_way.pop(waiter)
        self.mean_duration += SMOOTHING * (now - began - self.mean_duration)
        if throttled:
            self._slow_down(began, now)
        elif taken:
            # One more in flight for each round of as many as there may be.
            self.share = min(1.0, self.share + 1 / (self.limit * self.width))
        following = []
        while self.waiting and len(self.under_way) < self.width:
            following.append(self.waiting.popleft())
            self.under_way[following[-1]] = now
        return following

    def _slow_down(self, began: float, now: float) -> None:
        """Once for all that were in flight together, which say one thing."""
        if began >= self.slowed_at:
            self.share = max(1 / self.limit, self.share / 2)
            self.slowed_at = now

    def duration(self, now: float) -> float:
        """How long an exchange takes here, as far as can be told by now."""
        oldest = next(iter(self.under_way.values()), now)
        return max(self.mean_duration, now - oldest)

    def send_back(self, now: float) -> list[tuple[Waiter, float]]:
        """Those who would wait too long, each with the seconds after which to come again.

        They come one after the other, at the pace that the endpoint keeps.
        """
        pace = self.duration(now) / self.width
        if pace <= 0:
            return []
        may_stay = int(PATIENCE / pace)
        sent_back = [self.waiting.pop() for _ in range(len(self.waiting) - may_stay)]
        returns = []
        for waiter in reversed(sent_back):
            self.next_turn = max(self.next_turn, now + PATIENCE) + pace
            returns.append((waiter, min(self.next_turn - now, LONGEST_ABSENCE)))
        return returns
