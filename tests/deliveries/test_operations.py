from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from django.utils import timezone

from deliveries import operations, sweeps
from deliveries.models import DeadLetter, Delivery
from subscriptions.history import HistoryEntry
from subscriptions.ids import to_uuid
from subscriptions.models import Endpoint, Subscriber
from tests.conftest import Configure, Queue
from tests.deliveries.conftest import MakeDelivery, age, states

pytestmark = pytest.mark.django_db

ALL_STATES = ["pending", "sending", "waiting", "held", "delivered", "dead", "discarded"]


def replay(deliveries: list[UUID], _: DeadLetter.Resolution) -> object:
    """In the shape of the others, whose decision may be one of two."""
    return operations.replay(deliveries)


def in_state(make_delivery: MakeDelivery, state: str) -> Delivery:
    now = timezone.now()
    delivery = make_delivery(
        state=state,
        attempt_number=3,
        lease_expires_at=now if state == "sending" else None,
        next_attempt_at=now + timedelta(hours=1) if state == "waiting" else None,
        ended_at=now if state in ("delivered", "dead", "discarded") else None,
    )
    if state == "dead":
        DeadLetter.objects.create(delivery=delivery, reason="exhausted", died_at=now)
    return delivery


@pytest.mark.parametrize("state", ALL_STATES)
def test_only_a_waiting_delivery_can_be_tried_now(make_delivery: MakeDelivery, state: str) -> None:
    delivery = in_state(make_delivery, state)
    changed = operations.retry_now([to_uuid(delivery.pk)])
    delivery.refresh_from_db()
    assert delivery.state == state
    if state == "waiting":
        assert changed == [to_uuid(delivery.pk)]
        assert delivery.next_attempt_at is not None
        assert delivery.next_attempt_at <= timezone.now()
    else:
        assert changed == []


@pytest.mark.parametrize("state", ALL_STATES)
def test_only_a_dead_delivery_can_be_redriven(make_delivery: MakeDelivery, state: str) -> None:
    delivery = in_state(make_delivery, state)
    changed = operations.redrive([to_uuid(delivery.pk)])
    delivery.refresh_from_db()
    if state == "dead":
        assert changed == [to_uuid(delivery.pk)]
        assert (delivery.state, delivery.attempt_number, delivery.round_start) == ("pending", 3, 3)
        assert delivery.ended_at is None
        letter = DeadLetter.objects.get()
        assert letter.resolution == "redriven"
        assert letter.resolved_at is not None
    else:
        assert (changed, delivery.state) == ([], state)


@pytest.mark.parametrize("state", ALL_STATES)
def test_whatever_has_ended_can_be_replayed(make_delivery: MakeDelivery, state: str) -> None:
    delivery = in_state(make_delivery, state)
    changed = operations.replay([to_uuid(delivery.pk)])
    delivery.refresh_from_db()
    if state in ("delivered", "dead", "discarded"):
        assert changed == [to_uuid(delivery.pk)]
        assert (delivery.state, delivery.attempt_number, delivery.round_start) == ("pending", 3, 3)
        assert delivery.ended_at is None
        assert not DeadLetter.objects.exclude(resolution="replayed").exists()
    else:
        assert (changed, delivery.state) == ([], state)


@pytest.mark.django_db(transaction=True)
def test_what_has_no_room_in_the_queue_is_rung_for_by_the_sweep_once_it_has(
    make_delivery: MakeDelivery, queue: Queue, configure: Configure
) -> None:
    dead = {in_state(make_delivery, "dead").pk for _ in range(5)}
    queue.purge()
    configure(QUEUE_LIMIT=2)
    assert len(operations.redrive([to_uuid(delivery) for delivery in dead])) == 5
    assert states() == dict.fromkeys(dead, "pending")
    rung = queue.deliveries()
    assert len(rung) == 2
    Delivery.objects.filter(pk__in=rung).delete()
    for delivery in Delivery.objects.all():
        age(delivery, "rung_at", 31)
    assert sweeps.lost() == 2
    assert len(queue.deliveries() | rung) == 4


@pytest.mark.parametrize("operation", [operations.redrive, operations.replay])
def test_nothing_is_sent_again_to_a_deleted_endpoint(
    make_delivery: MakeDelivery, operation: Callable[[list[UUID]], object]
) -> None:
    delivery = in_state(make_delivery, "dead")
    delivery.endpoint.delete_for_good()
    assert operation([to_uuid(delivery.pk)]) == []
    assert states() == {delivery.pk: "dead"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("operation", [operations.redrive, operations.replay])
@pytest.mark.parametrize(
    "endpoint",
    [
        {"state": "paused"},
        {
            "circuit": "open",
            "openings": 1,
            "circuit_opened_at": timezone.now(),
            "probe_at": timezone.now(),
        },
    ],
    ids=["paused", "circuit open"],
)
def test_for_an_endpoint_that_takes_none_it_is_held_at_once_and_nobody_is_told(
    make_delivery: MakeDelivery,
    queue: Queue,
    operation: Callable[[list[UUID]], object],
    endpoint: dict[str, object],
) -> None:
    delivery = in_state(make_delivery, "dead")
    Endpoint.objects.update(**endpoint)
    queue.purge()
    assert operation([to_uuid(delivery.pk)]) == [to_uuid(delivery.pk)]
    delivery.refresh_from_db()
    assert (delivery.state, delivery.rung_at, delivery.ended_at) == ("held", None, None)
    assert queue.deliveries() == set()


def test_what_was_fetched_from_a_feed_keeps_its_place(make_delivery: MakeDelivery) -> None:
    delivery = in_state(make_delivery, "delivered")
    Delivery.objects.update(feed_position=1)
    assert operations.replay([to_uuid(delivery.pk)]) == []


@pytest.mark.parametrize("state", ALL_STATES)
def test_what_is_neither_under_way_nor_delivered_can_be_discarded(
    make_delivery: MakeDelivery, state: str
) -> None:
    delivery = in_state(make_delivery, state)
    changed = operations.discard([to_uuid(delivery.pk)])
    delivery.refresh_from_db()
    if state in ("pending", "waiting", "held", "dead"):
        assert changed == [to_uuid(delivery.pk)]
        assert delivery.state == "discarded"
        assert delivery.ended_at is not None
        assert not DeadLetter.objects.filter(resolution="").exists()
    else:
        assert (changed, delivery.state) == ([], state)


def test_a_list_is_changed_as_far_as_it_can_be(make_delivery: MakeDelivery) -> None:
    dead, delivered = in_state(make_delivery, "dead"), in_state(make_delivery, "delivered")
    assert operations.redrive([to_uuid(dead.pk), to_uuid(delivered.pk)]) == [to_uuid(dead.pk)]
    assert states() == {dead.pk: "pending", delivered.pk: "delivered"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("state", "operation"), [("waiting", operations.retry_now), ("dead", operations.redrive)]
)
def test_the_workers_are_told(
    make_delivery: MakeDelivery, queue: Queue, state: str, operation: Callable[[list[UUID]], object]
) -> None:
    delivery = in_state(make_delivery, state)
    queue.purge()
    operation([to_uuid(delivery.pk)])
    assert queue.deliveries() == {delivery.pk}


@pytest.mark.parametrize(
    ("operation", "decision", "action"),
    [
        (operations.redrive, DeadLetter.Resolution.REDRIVEN, "redriven"),
        (operations.redrive, DeadLetter.Resolution.RECOVERED, "recovered"),
        (replay, DeadLetter.Resolution.REPLAYED, "replayed"),
        (operations.discard, DeadLetter.Resolution.DISCARDED, "discarded"),
        (operations.discard, DeadLetter.Resolution.DROPPED, "dropped"),
    ],
)
def test_a_decision_is_one_entry_of_the_history_however_many_it_concerns(
    make_delivery: MakeDelivery,
    operation: Callable[..., object],
    decision: DeadLetter.Resolution,
    action: str,
) -> None:
    one, *many = [in_state(make_delivery, "dead") for _ in range(4)]
    HistoryEntry.objects.all().delete()
    operation([to_uuid(one.pk)], decision)
    operation([to_uuid(other.pk) for other in many], decision)
    operation([to_uuid(one.pk)], decision)  # it has not ended, or is dead no more
    subscriber = one.endpoint.subscriber_id
    assert list(
        HistoryEntry.objects.order_by("pk").values_list(
            "action", "kind", "object_id", "count", "endpoint", "subscriber"
        )
    ) == [
        (action, "delivery", one.pk, 1, one.endpoint_id, subscriber),
        (action, "delivery", "", 3, "", subscriber),
    ]


def test_a_decision_on_what_is_several_subscribers_is_none_s_in_particular(
    make_delivery: MakeDelivery,
) -> None:
    first, second = in_state(make_delivery, "dead"), in_state(make_delivery, "dead")
    other = Subscriber.objects.create(name="Khadija")
    Endpoint.objects.filter(pk=second.endpoint_id).update(subscriber=other)
    operations.redrive([to_uuid(first.pk), to_uuid(second.pk)])
    entry = HistoryEntry.objects.get(action="redriven")
    assert (entry.count, entry.endpoint, entry.subscriber) == (2, "", "")
