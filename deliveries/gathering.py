"""When an endpoint's next batch is due: counted in Redis, across all that emit.

The first event of each span of batch_seconds asks for a batch at the end of its wait, every
batch_events-th asks for one at once, and so does the one with which batch_bytes are full. So there
are few messages a batch, whatever the rate, and nobody waits for longer than batch_seconds: who
comes later in the span than its first is there when that one's wait ends. Where Redis has lost
count, the sweep forms the batches.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from deliveries import bell
from deliveries.batching import EVENT_OVERHEAD
from subscriptions.conf import SubscriptionSettings, part
from subscriptions.matching import Match

PATIENCE = 0.3
"""Seconds that whoever emits waits for Redis, to connect and to answer."""

QUIET_AFTER_FAILURE = 2.0
"""Seconds after a failure in which Redis is not asked, lest every emit() pay for the outage."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Count:
    """What has come for an endpoint in the present span of time; zeros where nobody can tell."""

    events: int = 0
    bytes: int = 0


class Counts:
    """Counts the events, and the bytes of their data, that come for each endpoint."""

    def __init__(self, url: str) -> None:
        self.redis = Redis.from_url(
            url,
            socket_timeout=PATIENCE,
            socket_connect_timeout=PATIENCE,
            retry=Retry(NoBackoff(), 0),
        )
        self.quiet_until = 0.0

    def add(self, matches: Sequence[Match], size: int) -> list[Count]:
        """Count one more of so many bytes for each endpoint; zeros where Redis is away."""
        if time.monotonic() < self.quiet_until:
            return [Count()] * len(matches)
        now = time.time()
        try:
            with self.redis.pipeline(transaction=False) as pipeline:
                for match in matches:
                    span = int(now // match.batch_seconds)
                    key = f"angarium:batch:{match.endpoint.hex}:{span}"
                    pipeline.hincrby(key, "events", 1)
                    pipeline.hincrby(key, "bytes", size)
                    pipeline.expire(key, 2 * match.batch_seconds)
                counted = pipeline.execute()
                return [Count(*both) for both in zip(counted[::3], counted[1::3], strict=True)]
        except RedisError as error:
            self.quiet_until = time.monotonic() + QUIET_AFTER_FAILURE
            logger.warning("Redis counts no batches (%s); the sweep will form them.", error)
            return [Count()] * len(matches)


@cache
def counts(url: str) -> Counts:
    return Counts(url)


def announce(matches: Sequence[Match], data_bytes: int) -> None:
    """Tell the workers of one more event for each of these endpoints, if that makes a batch due."""
    size = data_bytes + EVENT_OVERHEAD
    counted = counts(part(SubscriptionSettings).redis_url).add(matches, size)
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
