"""A beat too few, and one too many."""

from collections import Counter

import pytest

from tests.conftest import MakeEndpoint
from tests.faults.conftest import Enough, Start
from tests.faults.ledger import Ledger
from tests.processes import Process
from tests.receiver import Answer

pytestmark = pytest.mark.django_db(transaction=True)


def test_two_beats_at_once_make_no_double(
    beat: Process,
    make_endpoint: MakeEndpoint,
    ledger: Ledger,
    start_worker: Start,
    start_beat: Start,
    enough: Enough,
) -> None:
    ledger.answer(lambda _, number: Answer(500 if number == 1 else 200))
    make_endpoint(url=ledger.url)
    start_beat()
    start_worker()
    ledger.broken()
    ledger.emit(enough(50, 300))
    ledger.close("two beats at once")
    requests = Counter(one.id for one in ledger.receiver.received)
    assert requests == dict.fromkeys(ledger.emitted, 2)


@pytest.mark.long
def test_what_waits_for_a_sweep_goes_on_with_a_new_beat_where_one_was_killed(
    beat: Process,
    make_endpoint: MakeEndpoint,
    ledger: Ledger,
    start_worker: Start,
    start_beat: Start,
) -> None:
    endpoint = make_endpoint(url=ledger.url, state="paused")
    start_worker()
    ledger.emit(300)
    beat.kill()
    ledger.broken()
    endpoint.state = "active"
    endpoint.save()
    start_beat()
    balance = ledger.close("beat gets SIGKILL, and a new one is started")
    assert balance.doubled == 0
