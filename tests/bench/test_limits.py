"""The reckoning behind docs/scaling.md."""

from dataclasses import replace

import pytest

from tests.bench.limits import Costs, Machines, limits, needs, rate_of_waiting_workers
from tests.bench.scaling import PAGE, TABLES
from tests.tables import table_in

EMIT = Costs(100, 1000, 1.0, 500, 10, 1, 0, 400)
DELIVER = Costs(100, 1000, 0.1, 500, 10, 3, 300, 0)
COSTS = EMIT + DELIVER
MACHINES = Machines(postgres_cores=10, wal_bytes_a_second=2e6, load=0.5)


def test_the_costs_of_emitting_and_delivering_add_up() -> None:
    assert Costs(200, 2000, 1.1, 1000, 20, 4, 300, 400) == COSTS


def test_each_shared_part_is_full_at_its_own_rate() -> None:
    assert limits(COSTS, MACHINES) == {
        "PostgreSQL's CPU": pytest.approx(25_000),
        "PostgreSQL's log": pytest.approx(500),
        "Redis' one core": pytest.approx(25_000),
    }


def test_the_tighter_of_cpu_and_log_says_how_many_databases_it_takes() -> None:
    assert needs(COSTS, 500, MACHINES).databases == 1
    assert needs(COSTS, 501, MACHINES).databases == 2
    quick_disks = replace(MACHINES, wal_bytes_a_second=1e12)
    assert needs(COSTS, 25_001, quick_disks).databases == 2


def test_the_page_has_a_place_for_each_table() -> None:
    for name in TABLES:
        table_in(PAGE, name)


def test_what_a_rate_takes_grows_with_it() -> None:
    one, ten = needs(COSTS, 1_000, MACHINES), needs(COSTS, 10_000, MACHINES)
    assert ten.worker_cores == pytest.approx(10 * one.worker_cores) == pytest.approx(6.0)
    assert one.stored_bytes_a_day == 1_000 * 1_000 * 86_400
    assert one.redises == 1


def test_workers_that_wait_for_endpoints_deliver_as_many_as_they_have_slots() -> None:
    assert rate_of_waiting_workers(slots=8, seconds=0.2) == pytest.approx(40)
