"""What each process has counted, added up in Redis, and who has been seen alive.

A thread of its own hands on what there is every second, so that nobody who counts ever waits for
Redis. While Redis is away it keeps what it has. Reports are numbered, so that Redis adds each once
though it may come twice; what is lost is what a process that is killed had not reported yet.
"""

import atexit
import json
import logging
import os
import threading
import time
from collections.abc import Iterable
from functools import cache
from typing import Any
from uuid import uuid4

from celery.signals import worker_process_shutdown
from redis import RedisError

from deliveries.metrics.counted import Counter, Histogram, Tally
from subscriptions.conf import SubscriptionSettings, part
from subscriptions.redis_address import RedisAddress

EVERY = 1.0
"""Seconds between two reports."""

PATIENCE = 0.5
"""Seconds that a report may take to connect, and as many to be answered."""

TOTALS = "angarium:metrics"
SEEN = "angarium:seen"

ADD = """
local report, counted, seen = ARGV[1], cjson.decode(ARGV[2]), cjson.decode(ARGV[3])
if redis.call('GET', KEYS[1]) ~= report then
    redis.call('SET', KEYS[1], report, 'EX', 3600)
    for field, amount in pairs(counted) do
        redis.call('HINCRBYFLOAT', KEYS[2], field, amount)
    end
end
local now = redis.call('TIME')
for name, ago in pairs(seen) do
    redis.call('ZADD', KEYS[3], 'GT', now[1] + now[2] / 1e6 - ago, name)
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now[1] - 604800)
"""
"""Adds a report, once, and notes who was seen so many seconds ago; forgets who was not for a week.

KEYS: where the id of the process' last report is, the totals' hash, the sorted set of the seen.
ARGV: the report's id, two JSON objects.
"""

logger = logging.getLogger(__name__)


class Reporter:
    """Counts for this process, from its first count on, and reports."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget all, as a child does that was forked: what was counted is its parent's."""
        self._tally = Tally()
        self._seen: dict[str, float] = {}
        self._unsent: dict[str, float] = {}
        self._process = uuid4().hex
        self._report = 0
        self._silent = False
        self._starting = threading.Lock()
        self._sending = threading.Lock()
        self._thread: threading.Thread | None = None

    def count(self, counter: Counter, value: str = "", amount: int = 1) -> None:
        self._tally.count(counter, value, amount)
        self._start()

    def observe(self, histogram: Histogram, times: Iterable[float]) -> None:
        self._tally.observe(histogram, times)
        self._start()

    def saw(self, name: str) -> None:
        """Note that somebody or something is alive just now."""
        self._seen[name] = time.monotonic()
        self._start()

    def report(self) -> None:
        """Hand on all there is; what Redis does not take is kept for the next time."""
        with self._sending:
            if not self._unsent:
                self._unsent = self._tally.take()
                self._report += 1
            now = time.monotonic()
            seen = dict(self._seen)
            if not self._unsent and not seen:
                return
            try:
                totals(part(SubscriptionSettings).redis_url).add(
                    self._process,
                    self._report,
                    self._unsent,
                    {name: now - moment for name, moment in seen.items()},
                )
            except RedisError as error:
                if not self._silent:
                    logger.warning("Redis takes no metrics (%s); they are kept.", error)
                self._silent = True
                return
            self._silent = False
            self._unsent = {}
            for name, moment in seen.items():
                if self._seen.get(name) == moment:
                    del self._seen[name]

    def _start(self) -> None:
        if self._thread is not None:
            return
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
                self._thread.start()
                atexit.register(self.report)

    def _run(self) -> None:
        while True:
            time.sleep(EVERY)
            self.report()


class Totals:
    """The sums of all processes."""

    def __init__(self, url: str) -> None:
        address = RedisAddress.parse(url)
        self._redis = address.client(patience=PATIENCE, decode_responses=True)
        self._add = self._redis.register_script(ADD)

    def add(
        self, process: str, report: int, counted: dict[str, float], seen: dict[str, float]
    ) -> None:
        """Add a report of a process, unless its last was the same. Raises RedisError."""
        self._add(
            keys=[f"{TOTALS}:{process}", TOTALS, SEEN],
            args=[report, json.dumps(counted), json.dumps(seen)],
        )

    def read(self) -> tuple[dict[str, float], dict[str, float]]:
        """The sums by their fields, and how many seconds ago who was seen. Raises RedisError."""
        with self._redis.pipeline() as pipeline:
            pipeline.hgetall(TOTALS)
            pipeline.zrange(SEEN, 0, -1, withscores=True)
            pipeline.time()
            sums, seen, (seconds, microseconds) = pipeline.execute()
        now = seconds + microseconds / 1e6
        return (
            {field: float(amount) for field, amount in sums.items()},
            {name: max(0.0, now - moment) for name, moment in seen},
        )


@cache
def totals(url: str) -> Totals:
    return Totals(url)


reporter = Reporter()


os.register_at_fork(after_in_child=reporter.begin_anew)
os.register_at_fork(after_in_child=totals.cache_clear)


@worker_process_shutdown.connect
def _report_the_last(**_: Any) -> None:
    # The children of Celery's prefork pool end without what atexit has.
    reporter.report()
