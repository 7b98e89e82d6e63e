"""PostgreSQL restarts, crashes, has no connection left, deadlocks, or cannot write."""

import time
from typing import Literal

import pytest

from tests.conftest import MakeEndpoint
from tests.faults import database
from tests.faults.conftest import Enough, Start
from tests.faults.ledger import Ledger
from tests.processes import Process
from tests.receiver import Answer, Received

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def slow_ledger(ledger: Ledger, make_endpoint: MakeEndpoint) -> Ledger:
    """One whose endpoint takes its time, so that things break in the middle."""

    def slowly(_: Received, __: int) -> Answer:
        time.sleep(0.05)
        return Answer()

    ledger.answer(slowly)
    make_endpoint(url=ledger.url)
    return ledger


@pytest.mark.parametrize("mode", [pytest.param("fast", marks=pytest.mark.long()), "immediate"])
def test_a_database_that_restarts_loses_nothing(
    beat: Process,
    start_worker: Start,
    slow_ledger: Ledger,
    enough: Enough,
    mode: Literal["fast", "immediate"],
) -> None:
    worker = start_worker()
    slow_ledger.emit(enough(150, 1000))
    slow_ledger.receiver.wait_for(20)
    with database.stopped(mode):
        time.sleep(enough(1, 5))
    slow_ledger.broken()
    assert slow_ledger.under_way()
    how = {"fast": "is restarted", "immediate": "crashes and recovers"}[mode]
    slow_ledger.close(f"PostgreSQL {how}")
    assert worker.child.poll() is None
    assert beat.child.poll() is None


@pytest.mark.long
def test_a_database_without_a_free_connection_loses_nothing(
    beat: Process, slow_ledger: Ledger, start_worker: Start
) -> None:
    start_worker()
    slow_ledger.emit(1000)
    slow_ledger.receiver.wait_for(20)
    with database.without_connections():
        time.sleep(5)
    slow_ledger.broken()
    assert slow_ledger.under_way()
    slow_ledger.close("PostgreSQL has no connection left for five seconds")


@pytest.mark.long
def test_a_disk_that_is_full_loses_nothing(
    beat: Process, slow_ledger: Ledger, start_worker: Start
) -> None:
    start_worker()
    slow_ledger.emit(1000)
    slow_ledger.receiver.wait_for(20)
    with database.full_disk():
        slow_ledger.broken()
        time.sleep(3)
        assert slow_ledger.under_way()
    slow_ledger.mended()
    slow_ledger.close("PostgreSQL's disk is full for three seconds")
