"""Two forms: the quick one runs among all tests, `--long` is `make test-faults`."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from config.celery import app
from deliveries import bell
from tests import processes
from tests.conftest import MakeEndpoint
from tests.end_to_end.conftest import empty_queue, lane, quick_schedules, schedules
from tests.faults import report
from tests.faults.broker import Broker
from tests.faults.ledger import Balance, Ledger, Stall, slowly
from tests.processes import Process
from tests.receiver import Receiver

__all__ = ["empty_queue", "lane", "quick_schedules", "schedules"]

HERE = Path(__file__).parent
LONG_TIMEOUT = 3600
BALANCES = pytest.StashKey[list[Balance]]()
SOAKED = pytest.StashKey[list[report.Row]]()

Enough = Callable[[int, int], int]
Start = Callable[..., Process]
Table = list[report.Row]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long", action="store_true", help="the faults at length; writes docs/reliability.md"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long(*lanes): for `make test-faults` alone, in these lanes")
    config.stash[BALANCES] = []
    config.stash[SOAKED] = []


def is_long(config: pytest.Config) -> bool:
    return bool(config.getoption("--long", default=False))


def takes_long(item: pytest.Function) -> bool:
    lane = item.callspec.params["lane"]
    return any(lane in (mark.args or [lane]) for mark in item.iter_markers("long"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [one for one in items if isinstance(one, pytest.Function) and HERE in one.path.parents]
    if is_long(config):
        for item in ours:
            item.add_marker(pytest.mark.timeout(LONG_TIMEOUT))
    else:
        left_out = [item for item in ours if takes_long(item)]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if is_long(session.config):
        report.write("faults", map(astuple, session.config.stash[BALANCES]))
        report.write("soak", session.config.stash[SOAKED])


@pytest.fixture
def enough(request: pytest.FixtureRequest) -> Enough:
    """How many of something: the first number in the quick form, the second in the long one."""
    return lambda quick, long: long if is_long(request.config) else quick


@pytest.fixture
def ledger(receiver: Receiver, lane: str, enough: Enough, request: pytest.FixtureRequest) -> Ledger:
    """Its balance goes into the table."""
    return Ledger(receiver, lane, request.config.stash[BALANCES], patience=enough(90, 900))


@pytest.fixture
def slow_ledger(ledger: Ledger, make_endpoint: MakeEndpoint) -> Ledger:
    """One whose endpoint takes its time, so that things break in the middle.

    Either lane delivers some forty a second to it, the courier twenty at once and the plain two.
    """
    ledger.answer(slowly(0.5 if ledger.lane == "courier" else 0.05))
    make_endpoint(url=ledger.url)
    return ledger


@pytest.fixture
def stall(ledger: Ledger) -> Iterator[Stall]:
    """The ledger's endpoint takes requests in, and answers none until the stall is over."""
    stall = Stall()
    ledger.answer(stall)
    yield stall
    stall.over.set()


@pytest.fixture
def soak_table(request: pytest.FixtureRequest) -> Table:
    return request.config.stash[SOAKED]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts processes, each with a log of its own, and kills them when the test is over.

    By then the balance is struck, and nothing is left that they could do.
    """
    with ExitStack() as stack:

        def start(
            run: Callable[..., AbstractContextManager[Process]], *options: str, **how: Any
        ) -> Process:
            log = tmp_path / f"{run.__name__}{len(list(tmp_path.iterdir()))}.log"
            process = stack.enter_context(run(log, *options, **how))
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def start_worker(start: Start, lane: str) -> Start:
    """Circuits are off: an endpoint that a test has fail is asked again all the same."""
    return partial(start, processes.worker, LANE=lane, ANGARIUM_CIRCUIT_FAILURE_RATE="0")


@pytest.fixture
def start_beat(start: Start) -> Start:
    return partial(start, processes.beat)


@pytest.fixture
def beat(start_beat: Start, quick_schedules: None) -> Process:
    return start_beat()


@pytest.fixture
def own_broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    """What this process emits rings there too."""
    broker = Broker()
    own_bell = bell.Bell(app, broker.url)
    monkeypatch.setattr(bell, "_bell", lambda: own_bell)
    yield broker
    broker.close()
