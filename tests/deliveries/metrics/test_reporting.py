"""What a process counts comes to Redis, once, and costs who counts next to nothing."""

import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from redis import Redis

from config.embedded import free_port
from deliveries.emit import emit
from deliveries.metrics.counted import ATTEMPT_SECONDS, ATTEMPTS, EVENTS
from deliveries.metrics.reporting import SEEN, TOTALS, Reporter, totals
from deliveries.models import Event
from tests.conftest import Configure, MakeEndpoint
from tests.deliveries.metrics.conftest import Scrape
from tests.processes import ROOT


@pytest.fixture
def reporter(nothing_counted: None) -> Reporter:
    """One that reports when it is told to."""
    reporter = Reporter()
    reporter._thread = object()  # type: ignore[assignment]
    return reporter


def sums(redis: Redis) -> dict[str, str]:
    found: Any = redis.hgetall(TOTALS)
    return dict(found)


def test_the_counts_of_several_processes_are_added_up(reporter: Reporter, redis: Redis) -> None:
    for one in (reporter, Reporter()):
        one._thread = reporter._thread
        one.count(EVENTS)
        one.count(ATTEMPTS, "delivered", 2)
        one.report()
    assert sums(redis) == {"angarium_events:": "2", "angarium_attempts:delivered": "4"}


def test_what_was_reported_is_not_reported_again(reporter: Reporter, redis: Redis) -> None:
    reporter.count(EVENTS)
    reporter.report()
    reporter.report()
    assert sums(redis) == {"angarium_events:": "1"}


def test_a_report_that_comes_twice_is_added_once(redis: Redis, nothing_counted: None) -> None:
    for report in (1, 1, 2):
        totals(settings.REDIS_URL).add("one process", report, {"angarium_events:": 3}, {})
    redis.delete(f"{TOTALS}:one process")
    assert sums(redis) == {"angarium_events:": "6"}


def test_while_redis_is_away_counts_are_kept(
    reporter: Reporter, redis: Redis, configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    there = settings.REDIS_URL
    configure(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    for _ in range(3):
        reporter.count(EVENTS)
        reporter.report()
    # It says so once, not every second.
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    configure(REDIS_URL=there)
    reporter.report()
    reporter.report()
    assert sums(redis) == {"angarium_events:": "3"}


def test_a_flushed_redis_begins_anew(reporter: Reporter, redis: Redis) -> None:
    reporter.count(EVENTS, amount=5)
    reporter.report()
    redis.flushdb()
    reporter.count(EVENTS)
    reporter.report()
    assert sums(redis) == {"angarium_events:": "1"}


def test_a_time_is_counted_in_the_bucket_that_it_fits_in(reporter: Reporter, redis: Redis) -> None:
    reporter.observe(ATTEMPT_SECONDS, (0.004, 0.005, 0.3, 99))
    reporter.report()
    assert sums(redis) == {
        "angarium_attempt_seconds:0.005": "2",
        "angarium_attempt_seconds:0.5": "1",
        "angarium_attempt_seconds:+Inf": "1",
        "angarium_attempt_seconds:sum": "99.309",
    }


@pytest.mark.django_db
def test_buckets_are_shown_as_prometheus_has_them_each_with_all_below(
    reporter: Reporter, scrape: Scrape
) -> None:
    reporter.observe(ATTEMPT_SECONDS, (0.004, 0.3, 99))
    reporter.report()
    samples = scrape()
    buckets = samples.labelled("angarium_attempt_seconds_bucket")
    assert (buckets["0.005"], buckets["0.25"], buckets["0.5"]) == (1, 1, 2)
    assert (buckets["30.0"], buckets["+Inf"]) == (2, 3)
    assert samples["angarium_attempt_seconds_count"] == 3
    assert samples["angarium_attempt_seconds_sum"] == pytest.approx(99.304)


def test_who_was_seen_is_told_with_how_long_ago(reporter: Reporter, redis: Redis) -> None:
    reporter.saw("worker:here")
    reporter.report()
    _, seen = totals(settings.REDIS_URL).read()
    assert 0 <= seen["worker:here"] < 30
    redis.zadd(SEEN, {"worker:here": 1.0})
    _, seen = totals(settings.REDIS_URL).read()
    assert seen["worker:here"] > 1e9


@pytest.mark.django_db(transaction=True)
class TestEmitted:
    def test_an_event_counts_once_it_is_committed(
        self, make_endpoint: MakeEndpoint, scrape: Scrape
    ) -> None:
        with transaction.atomic():
            emit("invoice.paid", {})
            assert scrape()["angarium_events_total"] == 0
        assert scrape()["angarium_events_total"] == 1

    def test_one_that_is_rolled_back_does_not(self, scrape: Scrape) -> None:
        with transaction.atomic():
            emit("invoice.paid", {})
            transaction.set_rollback(True)
        assert Event.objects.count() == 0
        assert scrape()["angarium_events_total"] == 0

    def test_one_that_was_there_before_does_not(self, scrape: Scrape) -> None:
        for _ in range(2):
            emit("invoice.paid", {}, idempotency_key="once")
        assert scrape()["angarium_events_total"] == 1


COUNTING = """
import django; django.setup()
from deliveries.metrics.counted import EVENTS
from deliveries.metrics.reporting import reporter
reporter.count(EVENTS)
"""


def run(program: str) -> int:
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"},
    ).returncode


def test_a_process_that_ends_tells_what_it_has_counted(nothing_counted: None, redis: Redis) -> None:
    assert run(COUNTING) == 0
    assert sums(redis) == {"angarium_events:": "1"}


def test_one_that_is_killed_within_a_second_takes_it_with_it(
    nothing_counted: None, redis: Redis
) -> None:
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert run(COUNTING + killed) == -signal.SIGKILL
    assert sums(redis) == {}


def test_a_child_that_is_forked_does_not_tell_what_its_parent_counted(
    nothing_counted: None, redis: Redis
) -> None:
    forks = """
import os
child = os.fork()
reporter.count(EVENTS, amount=10)
if child:
    os.waitpid(child, 0)
"""
    assert run(COUNTING + forks) == 0
    assert sums(redis) == {"angarium_events:": "21"}
