from collections import Counter
from uuid import uuid4

import pytest

from deliveries import gathering
from deliveries.emit import emit
from subscriptions.ids import to_uuid
from subscriptions.matching import Match
from subscriptions.models import Endpoint
from tests.conftest import Configure, MakeEndpoint, Queue

FORM = "deliveries.form_batches"


def match(events: int = 3, seconds: int = 300) -> Match:
    return Match(uuid4(), True, events, seconds)


def rung(queue: Queue) -> list[str]:
    return [arguments[0] for _, arguments in queue.messages("housekeeping")]


def test_the_first_event_asks_for_a_batch_after_its_wait_and_the_last_at_once(
    queue: Queue,
) -> None:
    one = match(events=3)
    for _ in range(2):
        gathering.announce([one])
    assert len(rung(queue)) == 1  # by countdown: see the next test
    gathering.announce([one])
    assert len(rung(queue)) == 1
    for _ in range(3):
        gathering.announce([one])
    assert len(rung(queue)) == 1


def test_each_endpoint_is_counted_by_itself(queue: Queue) -> None:
    some = [match() for _ in range(3)]
    gathering.announce(some)
    gathering.announce(some[:2])
    gathering.announce(some[:1])
    assert Counter(to_uuid(one) for one in rung(queue)) == {
        some[0].endpoint: 2,
        some[1].endpoint: 1,
        some[2].endpoint: 1,
    }


def test_while_redis_is_away_nobody_waits_long_and_nothing_is_rung(
    queue: Queue, configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    configure(REDIS_URL="redis://127.0.0.1:9/0")
    for _ in range(3):
        gathering.announce([match(events=2)])
    assert rung(queue) == []
    assert caplog.text.count("the sweep will form them") == 1


@pytest.mark.django_db(transaction=True)
def test_emit_counts_once_it_is_committed(make_endpoint: MakeEndpoint, queue: Queue) -> None:
    endpoint = make_endpoint(batch_events=2, batch_seconds=300)
    make_endpoint()
    emit("made.once", {})
    emit("made.once", {})
    assert queue.messages("housekeeping") == [(FORM, [endpoint.pk])] * 2
    assert len(queue.deliveries()) == 2


@pytest.mark.django_db(transaction=True)
def test_for_a_paused_endpoint_nothing_is_counted(
    make_endpoint: MakeEndpoint, queue: Queue
) -> None:
    make_endpoint(batch_events=2, state=Endpoint.State.PAUSED)
    emit("made.once", {})
    assert queue.messages("housekeeping") == queue.messages() == []
