"""A running system: one worker for a module's tests, and a beat for each test that asks."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

from config.celery import app
from tests import processes
from tests.api_client import api as api
from tests.conftest import Queue, install_schedules
from tests.processes import Process, wait_until

QUICKENED = ((5, 1), (10, 2), (math.inf, 3))
"""Seconds between two runs of a sweep: at most, and in the tests."""


@pytest.fixture(scope="module", params=["plain", "courier"])
def lane(request: pytest.FixtureRequest) -> str:
    """The same holds in the plain lane and in the fast one."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def worker(
    django_db_setup: None, tmp_path_factory: pytest.TempPathFactory, lane: str
) -> Iterator[Process]:
    log = tmp_path_factory.mktemp("logs") / "worker.log"
    with processes.worker(log, LANE=lane, LOG_LEVEL="DEBUG") as process:
        yield process


@pytest.fixture(autouse=True)
def empty_queue(queue: Queue) -> None:
    """What one test leaves in the queue is not the next one's business."""


@pytest.fixture
def schedules(transactional_db: None) -> None:
    """The schedules as the migrations install them."""
    install_schedules()
    PeriodicTasks.update_changed()


@pytest.fixture
def quick_schedules(schedules: None) -> None:
    """The same as an operator may change them: some seconds at most, the most frequent each second.

    More would be all that a busy machine does.
    """
    for task in PeriodicTask.objects.select_related("interval"):
        seconds = next(quick for most, quick in QUICKENED if task.interval.every <= most)
        task.interval, _ = IntervalSchedule.objects.get_or_create(every=seconds, period="seconds")
        task.save(update_fields=["interval"])


@pytest.fixture
def beat(quick_schedules: None, queue: Queue, tmp_path: Path) -> Iterator[Process]:
    with processes.beat(tmp_path / "beat.log") as process:
        yield process
    # A sweep that went on while the tables are emptied could not but deadlock with that.
    queue.purge()
    wait_until(no_sweep_is_at_work, "the last sweeps")


def no_sweep_is_at_work() -> bool:
    """Whether the worker, if there is one, neither runs a sweep nor is about to."""
    # Not over the application's pooled connections, which some tests have the broker close.
    with app.connection_for_write() as connection:
        worker = app.control.inspect(limit=1, timeout=1, connection=connection)
        running = worker.active()
        return running is None or "sweep" not in f"{running} {worker.reserved()}"
