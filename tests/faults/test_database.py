"""PostgreSQL restarts, crashes, has no connection left, deadlocks, or cannot write."""

import threading
import time
from collections.abc import Iterator
from typing import Literal

import psycopg
import pytest
from django.db import connection

from deliveries.models import Delivery
from subscriptions.ids import to_uuid
from tests.conftest import MakeEndpoint
from tests.faults import database
from tests.faults.conftest import Enough, Start
from tests.faults.ledger import Ledger, Stall
from tests.processes import Process, database_url, wait_until
from tests.receiver import Answer, Received

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("mode", [pytest.param("fast", marks=pytest.mark.long()), "immediate"])
def test_a_database_that_restarts_loses_nothing(
    beat: Process,
    start_worker: Start,
    slow_ledger: Ledger,
    enough: Enough,
    mode: Literal["fast", "immediate"],
) -> None:
    # At length an attempt, and a lease, outlive the outage.
    worker = start_worker(
        ANGARIUM_TIMEOUT=str(enough(3, 20)), ANGARIUM_LEASE_MARGIN=str(enough(1, 10))
    )
    slow_ledger.emit(enough(150, 300))
    slow_ledger.receiver.wait_for(20)
    slow_ledger.broken()
    with database.stopped(mode):
        time.sleep(enough(1, 2))
    slow_ledger.broken()
    assert slow_ledger.under_way()
    how = {"fast": "is restarted", "immediate": "crashes and recovers"}[mode]
    balance = slow_ledger.close(f"PostgreSQL {how}")
    assert balance.doubled <= enough(balance.in_flight, 0)
    assert worker.status is None
    assert beat.status is None


@pytest.mark.long
def test_a_database_without_a_free_connection_loses_nothing(
    beat: Process,
    make_endpoint: MakeEndpoint,
    ledger: Ledger,
    stall: Stall,
    start_worker: Start,
) -> None:
    make_endpoint(url=ledger.url)
    # An attempt, and a lease, outlive the outage.
    start_worker(ANGARIUM_TIMEOUT="20", ANGARIUM_LEASE_MARGIN="10")
    ledger.emit(300)
    ledger.receiver.wait_for(2)
    with database.without_connections():
        ledger.broken()
        stall.over.set()
        time.sleep(5)
        assert ledger.under_way()
    ledger.mended()
    balance = ledger.close("PostgreSQL has no connection left for five seconds")
    assert balance.doubled == 0


@pytest.mark.long
def test_a_disk_that_is_full_loses_nothing(
    beat: Process, slow_ledger: Ledger, start_worker: Start
) -> None:
    # An attempt, and a lease, outlive the outage.
    start_worker(ANGARIUM_TIMEOUT="20", ANGARIUM_LEASE_MARGIN="10")
    slow_ledger.emit(300)
    slow_ledger.receiver.wait_for(20)
    with database.full_disk():
        slow_ledger.broken()
        time.sleep(3)
        assert slow_ledger.under_way()
    slow_ledger.mended()
    assert slow_ledger.close("PostgreSQL's disk is full for three seconds").doubled == 0


@pytest.fixture
def patient_deadlock_check(db: None) -> Iterator[None]:
    """PostgreSQL lets workers wait for half a second before it looks for a deadlock."""
    name = connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '500ms'")
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} RESET deadlock_timeout")


def test_a_deadlock_that_a_worker_loses_loses_and_doubles_nothing(
    patient_deadlock_check: None,
    beat: Process,
    make_endpoint: MakeEndpoint,
    ledger: Ledger,
    start_worker: Start,
) -> None:
    locked = threading.Event()

    def too_large_at_first(_: Received, __: int) -> Answer:
        if len(ledger.receiver.received) > 1:
            return Answer()
        locked.wait(3)
        return Answer(413)

    # To halve a batch is to lock its lead, then its members.
    ledger.answer(too_large_at_first)
    make_endpoint(url=ledger.url, batch_events=10, batch_seconds=60)
    worker = start_worker()
    ledger.emit(10)
    ledger.receiver.wait_for(1)
    ledger.broken()
    lead = Delivery.objects.get(state="sending")
    member = Delivery.objects.filter(lead=lead).latest("pk")
    lock = "SELECT FROM deliveries_delivery WHERE id = %s FOR UPDATE"
    with psycopg.connect(database_url()) as other:
        other.execute("SET deadlock_timeout = '1h'")
        other.execute(lock, [to_uuid(member.pk)])
        locked.set()
        wait_until(somebody_waits_for_a_lock, "the worker to wait")
        other.execute(lock, [to_uuid(lead.pk)])
        other.rollback()
    worker.wait_until_it_says("deadlock detected")
    assert ledger.close("PostgreSQL ends a deadlock, to a worker's cost").doubled == 0


def somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return cursor.rowcount > 0
