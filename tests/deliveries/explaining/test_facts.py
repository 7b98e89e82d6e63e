"""What is read of an event and an endpoint, and what is made of it."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from deliveries import operations
from deliveries.batching import follow
from deliveries.emit import emit
from deliveries.explaining import Explanation, explain
from deliveries.explaining.facts import Facts, gather
from deliveries.models import Delivery, Event
from deliveries.pipeline import record
from subscriptions.ids import to_uuid
from subscriptions.models import ApiKey, Endpoint, EventType, Subscriber
from tests.conftest import Configure, MakeEndpoint, Queue
from tests.deliveries.conftest import MakeDelivery
from tests.deliveries.test_batching import OK, attempt, form
from tests.deliveries.test_batching import gather as gather_batch
from tests.deliveries.test_pipeline import FAILED, GONE, take_one

# Times are those of transactions: in one for the whole test all would be the same.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def empty_queue(queue: Queue) -> None:
    pass


def facts_of(delivery: Delivery) -> Facts:
    return gather(
        Event.objects.get(pk=delivery.event_id), Endpoint.objects.get(pk=delivery.endpoint_id)
    )


def explained(delivery: Delivery) -> Explanation:
    return explain(facts_of(delivery))


def test_it_takes_the_same_few_queries_however_much_happened(make_delivery: MakeDelivery) -> None:
    delivery = make_delivery()
    record([(take_one(delivery).lease, GONE)])
    endpoint = Endpoint.objects.select_related("subscriber").get(pk=delivery.endpoint_id)
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as captured:
            explain(gather(Event.objects.get(pk=delivery.event_id), endpoint))
        counts.append(len(captured))
        for _ in range(3):
            Endpoint.objects.update(state="active")
            operations.redrive([to_uuid(delivery.pk)])
            record([(take_one(delivery).lease, GONE)])
            endpoint.pause()
            endpoint.resume()
    assert counts[0] == counts[1] < 12


def test_a_batch_s_attempts_are_told_of_each_that_is_in_it(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint(batch_events=3, batch_seconds=5)
    lead, member, _ = gather_batch(3)
    form(endpoint)
    assert lead in explained(Delivery.objects.get(pk=member)).answer
    attempt(lead, OK)
    follow(None)
    found = explained(Delivery.objects.get(pk=member))
    assert found.answer == "It was delivered by attempt 1."
    assert [moment.state for moment in found.timeline if moment.state] == [
        "gathering",
        "batched",
        "delivered",
    ]


def test_what_is_queued_knows_what_is_ahead_of_it(make_endpoint: MakeEndpoint) -> None:
    make_endpoint(ordered=True)
    first, second = (
        emit("made.once", {}, ordering_key="order-1").deliveries.get() for _ in range(2)
    )
    assert facts_of(first).ahead is None
    assert facts_of(second).ahead == first
    Delivery.objects.filter(pk=first.pk).update(state="pending")
    assert facts_of(second).ahead == first


def test_who_paused_the_endpoint_is_found_in_the_history(make_delivery: MakeDelivery) -> None:
    delivery = make_delivery()
    delivery.endpoint.pause()
    facts = facts_of(delivery)
    assert facts.moved is not None
    assert facts.moved.changes == {"state": ["active", "paused"]}
    assert [entry.kind for entry in facts.history] == ["subscription", "endpoint"]


def test_a_fan_out_that_has_not_come_by_the_endpoint_is_still_to_decide(
    make_endpoint: MakeEndpoint, configure: Configure
) -> None:
    configure(FAN_OUT_INLINE_LIMIT=1)
    first, second = make_endpoint(), make_endpoint()
    event = emit("made.once", {})
    Event.objects.update(fan_out_after=to_uuid(first.pk))
    event.refresh_from_db()
    assert gather(event, first).is_reached
    assert not gather(event, second).is_reached


def test_a_feature_flag_that_the_subscriber_lacks_is_named(make_endpoint: MakeEndpoint) -> None:
    known = EventType.objects.create(name="made.once", feature_flag="beta")
    endpoint = make_endpoint()
    event = emit("made.once", {})
    assert gather(event, endpoint).missing_flag == "beta"
    endpoint.subscriber.feature_flags = ["beta"]
    assert gather(event, endpoint).missing_flag == ""
    known.delete()


def test_whoever_is_bound_to_a_subscriber_knows_its_keys_alone(
    make_delivery: MakeDelivery, subscriber: Subscriber
) -> None:
    ours, _ = ApiKey.objects.create_key(name="ours", subscriber=subscriber)
    ApiKey.objects.create_key(name="the operator's")
    delivery = make_delivery()
    facts = gather(delivery.event, delivery.endpoint, asked_by=subscriber.pk)
    assert facts.own_keys == {ours.prefix}


def test_a_redriven_delivery_tells_of_both_rounds(make_delivery: MakeDelivery) -> None:
    delivery = make_delivery()
    record([(take_one(delivery).lease, GONE)])
    Endpoint.objects.update(state="active")
    operations.redrive([to_uuid(delivery.pk)])
    record([(take_one(delivery).lease, FAILED)])
    found = explained(delivery)
    states = [moment.state for moment in found.timeline if moment.state]
    assert [state for state in states if state != "sending"] == [
        "pending",
        "dead",
        "pending",
        "waiting",
    ]
    assert found.next.sentence == "Attempt 3 follows (try 2 of 10)."
