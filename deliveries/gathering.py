"""When an endpoint's next batch is due: counted in Redis, across all that emit.

The first event of each span of batch_seconds asks for a batch at the end of its wait, every
batch_events-th asks for one at once, and so does the one with which batch_bytes are full. So there
are few messages a batch, whatever the rate, and nobody waits for longer than batch_seconds: who
comes later in the span than its first is there when that one's wait ends. Where Redis has lost
count, the sweep forms the batches.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from deliveries import bell
from deliveries.batching import EVENT_OVERHEAD
from subscriptions.matching import Match
from subscriptions.quick_redis import QuickRedis


@dataclass(frozen=True, slots=True)
class Count:
    """What has come for an endpoint in the present span of time; zeros where nobody can tell."""

    events: int = 0
    bytes: int = 0


class Counts(QuickRedis):
    """Counts the events, and the bytes of their data, that come for each endpoint."""

    patience = 0.3
    quiet_for = 2.0
    without = "no batches are counted, and the sweep will form them."

    def add(self, matches: Sequence[Match], size: int) -> list[Count]:
        """Count one more of so many bytes for each endpoint; zeros where Redis is away."""
        return self.ask(lambda: self._add(matches, size)) or [Count()] * len(matches)

    def _add(self, matches: Sequence[Match], size: int) -> list[Count]:
        now = time.time()
        with self.client.pipeline(transaction=False) as pipeline:
            for match in matches:
                span = int(now // match.batch_seconds)
                key = f"angarium:batch:{match.endpoint.hex}:{span}"
                pipeline.hincrby(key, "events", 1)
                pipeline.hincrby(key, "bytes", size)
                pipeline.expire(key, 2 * match.batch_seconds)
            counted = pipeline.execute()
            return [Count(*both) for both in zip(counted[::3], counted[1::3], strict=True)]


def announce(matches: Sequence[Match], data_bytes: int) -> None:
    """Tell the workers of one more event for each of these endpoints, if that makes a batch due."""
    size = data_bytes + EVENT_OVERHEAD
    counted = Counts.here().add(matches, size)
    due, later = [], {}
    for match, count in zip(matches, counted, strict=True):
        if count.events == 1:
            later[match.endpoint] = float(match.batch_seconds)
        if count.events and _fills(match, count, size):
            due.append(match.endpoint)
    bell.ring_for_batches(due, later)


def _fills(match: Match, count: Count, size: int) -> bool:
    """Whether a batch is full with the event that was counted last."""
    return (match.batch_events is not None and count.events % match.batch_events == 0) or (
        count.bytes // match.batch_bytes > (count.bytes - size) // match.batch_bytes
    )
