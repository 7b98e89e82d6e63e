"""Redis loses what it had, goes away, or says nothing."""

import re
import time
from collections import Counter

import pytest

from tests import processes
from tests.conftest import MakeEndpoint
from tests.faults.broker import Broker
from tests.faults.conftest import Enough, Start
from tests.faults.ledger import Ledger
from tests.receiver import Answer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def system(
    own_broker: Broker, quick_schedules: None, start_worker: Start, start_beat: Start
) -> None:
    """A worker and a beat on the broker that is to break.

    A worker takes some seconds to see that its broker says nothing, and stands still meanwhile.
    """
    start_worker(REDIS_URL=own_broker.url, ANGARIUM_TIMEOUT="20")
    start_beat(REDIS_URL=own_broker.url)


def test_a_broker_flushed_in_mid_run_loses_and_doubles_nothing(
    own_broker: Broker, system: None, slow_ledger: Ledger, enough: Enough
) -> None:
    slow_ledger.emit(enough(150, 300))
    slow_ledger.receiver.wait_for(20)
    own_broker.flush()
    slow_ledger.broken()
    assert slow_ledger.under_way()
    assert slow_ledger.close("Redis is flushed").doubled == 0


@pytest.mark.long
def test_with_nothing_set_what_a_flush_lost_is_found_within_sixty_seconds(
    own_broker: Broker,
    schedules: None,
    slow_ledger: Ledger,
    start_worker: Start,
    start_beat: Start,
) -> None:
    how = {"waits": processes.DEFAULTS, "REDIS_URL": own_broker.url}
    start_worker(**how)
    start_beat(**how)
    slow_ledger.emit(300)
    slow_ledger.receiver.wait_for(20)
    own_broker.flush()
    slow_ledger.broken()
    assert slow_ledger.under_way()
    balance = slow_ledger.close("Redis is flushed, default settings")
    assert balance.doubled == 0
    assert balance.recovery < 60


@pytest.mark.long
def test_a_broker_that_comes_back_empty_loses_and_doubles_nothing(
    own_broker: Broker, system: None, slow_ledger: Ledger
) -> None:
    slow_ledger.emit(300)
    slow_ledger.receiver.wait_for(20)
    own_broker.stop()
    slow_ledger.broken()
    time.sleep(2)
    slow_ledger.emit(20)
    own_broker.start_empty()
    slow_ledger.mended()
    assert slow_ledger.under_way()
    assert slow_ledger.close("Redis is restarted empty").doubled == 0


def test_a_broker_out_of_reach_loses_and_doubles_nothing(
    own_broker: Broker, system: None, slow_ledger: Ledger, enough: Enough
) -> None:
    slow_ledger.emit(enough(150, 300))
    slow_ledger.receiver.wait_for(20)
    own_broker.road.cut()
    slow_ledger.broken()
    slow_ledger.emit(20)
    time.sleep(enough(2, 60))
    own_broker.road.open()
    slow_ledger.mended()
    assert slow_ledger.under_way()
    assert slow_ledger.close("Redis is out of reach for a minute").doubled == 0


def test_emit_is_quick_and_nothing_is_lost_while_the_broker_says_nothing(
    own_broker: Broker,
    system: None,
    slow_ledger: Ledger,
    enough: Enough,
    caplog: pytest.LogCaptureFixture,
) -> None:
    slow_ledger.emit(enough(100, 300))
    slow_ledger.receiver.wait_for(20)
    with own_broker.paused():
        slow_ledger.broken()
        began = time.monotonic()
        slow_ledger.emit(10)
        # Celery's own publishing would hang here, for each event, until the broker is back.
        assert time.monotonic() - began < 10
        assert 0 < caplog.text.count("The broker took no message") < 10
        time.sleep(enough(0, 60))
    slow_ledger.mended()
    assert slow_ledger.close("Redis is stopped by SIGSTOP for a minute").doubled == 0


@pytest.mark.long
def test_a_countdown_longer_than_the_visibility_timeout_makes_no_double(
    own_broker: Broker,
    quick_schedules: None,
    make_endpoint: MakeEndpoint,
    ledger: Ledger,
    start_worker: Start,
) -> None:
    make_endpoint(url=ledger.url)
    ledger.answer(lambda _, number: Answer(500 if number == 1 else 200))
    how = {"REDIS_URL": own_broker.url, "ANGARIUM_RETRY_SCHEDULE": "8", "LOG_LEVEL": "DEBUG"}
    worker = start_worker(launcher=("tests.faults.hasty",), **how)
    ledger.emit(50)
    ledger.receiver.wait_for(50)
    ledger.broken()
    ledger.close("a countdown outlives the broker's visibility timeout")
    taken = Counter(re.findall(r"Task deliveries\.deliver\[(\S+)\] received", worker.text()))
    assert max(taken.values()) > 1
    requests = Counter(one.id for one in ledger.receiver.received)
    assert requests == dict.fromkeys(ledger.emitted, 2)
