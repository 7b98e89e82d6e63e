"""The primary of a watched Redis dies, and its replica takes its place."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from subscriptions.redis_address import RedisAddress
from tests.brokers import ring_at
from tests.faults.conftest import Enough, Start
from tests.faults.ledger import Ledger
from tests.processes import wait_until
from tests.redis_sentinels import Watched, watched

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path) as redis:
        yield redis


def test_a_failover_in_mid_run_loses_nothing_and_workers_go_on_at_the_new_primary(
    redis: Watched,
    quick_schedules: None,
    slow_ledger: Ledger,
    start_worker: Start,
    start_beat: Start,
    enough: Enough,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ring_at(redis.url, slow_ledger.lane, monkeypatch)
    client = RedisAddress.parse(redis.url).client(patience=1.0)
    client.set("known", "before")
    start_worker(REDIS_URL=redis.url)
    start_beat(REDIS_URL=redis.url)
    slow_ledger.emit(enough(80, 300))
    slow_ledger.receiver.wait_for(20)
    redis.kill_the_primary()
    slow_ledger.broken()
    wait_until(redis.has_failed_over, "the failover")
    slow_ledger.mended()
    slow_ledger.emit(20)
    assert slow_ledger.under_way()
    slow_ledger.close("Redis' primary dies, and Sentinel makes the replica primary")
    assert client.get("known") == b"before"
    client.set("known", "after")
