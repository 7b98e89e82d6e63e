"""When an endpoint's next batch is due: counted in Redis, across all that emit.

The first event of each span of batch_seconds asks for a batch at the end of its wait, every
batch_events-th asks for one at once. So there are two messages a batch or fewer, whatever the rate,
and nobody waits for longer than batch_seconds: who comes later in the span than its first is there
when that one's wait ends. Where Redis has lost count, the sweep forms the batches.
"""

import time
from collections.abc import Sequence
from functools import cache

from deliveries import bell
from subscriptions.conf import SubscriptionSettings, part
from subscriptions.matching import Match
from subscriptions.quick_redis import QuickRedis

PATIENCE = 0.3
"""Seconds that whoever emits waits for Redis, to connect and to answer."""

QUIET_AFTER_FAILURE = 2.0
"""Seconds after a failure in which Redis is not asked, lest every emit() pay for the outage."""


class Counts:
    """How many events have come for each endpoint in the present span of time."""

    def __init__(self, url: str) -> None:
        self.redis = QuickRedis(
            url,
            patience=PATIENCE,
            quiet_for=QUIET_AFTER_FAILURE,
            without="no batches are counted, and the sweep will form them.",
        )

    def add(self, matches: Sequence[Match]) -> list[int]:
        """Count one more for each endpoint; returns the counts, or zeros where Redis is away."""
        return self.redis.ask(lambda: self._add(matches)) or [0] * len(matches)

    def _add(self, matches: Sequence[Match]) -> list[int]:
        now = time.time()
        with self.redis.client.pipeline(transaction=False) as pipeline:
            for match in matches:
                span = int(now // match.batch_seconds)
                key = f"angarium:batch:{match.endpoint.hex}:{span}"
                pipeline.incr(key)
                pipeline.expire(key, 2 * match.batch_seconds)
            counted: list[int] = pipeline.execute()[::2]
            return counted


@cache
def counts(url: str) -> Counts:
    return Counts(url)


def announce(matches: Sequence[Match]) -> None:
    """Tell the workers of one more event for each of these endpoints, if that makes a batch due."""
    counted = counts(part(SubscriptionSettings).redis_url).add(matches)
    due, later = [], {}
    for match, count in zip(matches, counted, strict=True):
        if count == 1:
            later[match.endpoint] = float(match.batch_seconds)
        elif count and match.batch_events and count % match.batch_events == 0:
            due.append(match.endpoint)
    bell.ring_for_batches(due, later)
