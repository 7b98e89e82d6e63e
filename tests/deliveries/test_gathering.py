from collections import Counter
from collections.abc import Sequence
from uuid import uuid4

import pytest

from deliveries import gathering
from deliveries.batching import EVENT_OVERHEAD
from deliveries.emit import emit
from subscriptions.ids import to_uuid
from subscriptions.matching import Match
from subscriptions.models import Endpoint
from tests.conftest import Configure, MakeEndpoint, Queue

FORM = "deliveries.form_batches"


def match(events: int = 3, seconds: int = 300, max_bytes: int = 100_000) -> Match:
    return Match(uuid4(), True, events, seconds, max_bytes)


def announce(matches: Sequence[Match], data_bytes: int = 2) -> None:
    gathering.announce(matches, data_bytes)


def rung(queue: Queue) -> list[str]:
    return [arguments[0] for _, arguments in queue.messages("housekeeping")]


def test_the_first_event_asks_for_a_batch_after_its_wait_and_the_last_at_once(
    queue: Queue,
) -> None:
    one = match(events=3)
    for _ in range(2):
        announce([one])
    assert len(rung(queue)) == 1  # by countdown: see the next test
    announce([one])
    assert len(rung(queue)) == 1
    for _ in range(3):
        announce([one])
    assert len(rung(queue)) == 1


def test_one_that_fills_a_batch_with_its_bytes_asks_at_once_too(queue: Queue) -> None:
    one = match(events=1000, max_bytes=2048)
    asked = []
    for _ in range(6):
        announce([one], 1024 - EVENT_OVERHEAD)
        asked.append(len(rung(queue)))
    assert asked == [1, 1, 0, 1, 0, 1]  # the first by countdown


def test_one_that_is_larger_than_a_batch_asks_at_once(queue: Queue) -> None:
    announce([match(max_bytes=2048)], 5000)
    assert len(rung(queue)) == 2  # once by countdown


def test_each_endpoint_is_counted_by_itself(queue: Queue) -> None:
    some = [match() for _ in range(3)]
    announce(some)
    announce(some[:2])
    announce(some[:1])
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
        announce([match(events=2)])
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
def test_it_counts_the_bytes_of_the_data(make_endpoint: MakeEndpoint, queue: Queue) -> None:
    endpoint = make_endpoint(batch_events=1000, batch_seconds=300, batch_bytes=2048)
    emit("made.once", "x" * 1500)
    emit("made.once", "x" * 1500)
    assert queue.messages("housekeeping") == [(FORM, [endpoint.pk])] * 2


@pytest.mark.django_db(transaction=True)
def test_for_a_paused_endpoint_nothing_is_counted(
    make_endpoint: MakeEndpoint, queue: Queue
) -> None:
    make_endpoint(batch_events=2, state=Endpoint.State.PAUSED)
    emit("made.once", {})
    assert queue.messages("housekeeping") == queue.messages() == []
