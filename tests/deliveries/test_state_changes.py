"""What is written of a delivery's state where its attempts do not tell, and why it changed."""

from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from deliveries import feed, operations, ordering, retention, sweeps
from deliveries.emit import emit
from deliveries.models import DeadLetter, Delivery, StateChange
from deliveries.pipeline import put_back, record
from subscriptions.ids import to_uuid
from subscriptions.models import Endpoint, Feed, Subscriber, Subscription
from tests.api_client import api as api
from tests.conftest import Configure, MakeEndpoint, Queue
from tests.deliveries.conftest import MakeDelivery, age
from tests.deliveries.test_batching import OK, TOO_LARGE, attempt, form, gather
from tests.deliveries.test_pipeline import DELIVERED, FAILED, GONE, take, take_one

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def empty_queue(queue: Queue) -> None:
    pass


@pytest.fixture(autouse=True)
def short_schedule(configure: Configure) -> None:
    configure(RETRY_SCHEDULE=[10], JITTER=0)


def changes(delivery: str) -> list[tuple[str, str, str]]:
    found = StateChange.objects.filter(delivery=delivery)
    return list(found.values_list("was", "became", "cause"))


def dead(make_delivery: MakeDelivery) -> Delivery:
    """One that its attempt has ended."""
    delivery = make_delivery()
    record([(take_one(delivery).lease, GONE)])
    return delivery


def test_a_delivery_that_goes_its_plain_way_writes_nothing(make_delivery: MakeDelivery) -> None:
    delivery = make_delivery()
    record([(take_one(delivery).lease, FAILED)])
    age(delivery, "next_attempt_at", 1)
    record([(take_one(delivery).lease, DELIVERED)])
    record([(take_one(make_delivery()).lease, GONE)])
    assert not StateChange.objects.exists()


@pytest.mark.parametrize("state", ["paused", "disabled", "unverified"])
def test_what_is_held_says_how_its_endpoint_was_and_what_is_released_that_it_is_active(
    make_delivery: MakeDelivery, state: str
) -> None:
    delivery = make_delivery(endpoint={"state": state, "disabled_reason": "It answered 410."})
    take(delivery)
    Endpoint.objects.update(state="active")
    sweeps.held()
    assert changes(delivery.pk) == [
        ("pending", "held", f"endpoint_{state}"),
        ("held", "pending", "released"),
    ]
    detail = StateChange.objects.earliest("id").detail
    assert detail == ("It answered 410." if state == "disabled" else "")


def test_what_its_endpoint_took_with_it_says_so(make_delivery: MakeDelivery) -> None:
    delivery = make_delivery(endpoint={"state": "deleted"})
    take(delivery)
    assert changes(delivery.pk) == [("pending", "discarded", "endpoint_deleted")]


def test_what_was_held_for_too_long_has_expired(
    make_delivery: MakeDelivery, configure: Configure
) -> None:
    configure(HELD_RETENTION=0)
    delivery = make_delivery(endpoint={"state": "paused"})
    take(delivery)
    sweeps.held_too_long()
    assert changes(delivery.pk)[1:] == [("held", "dead", "expired")]


def test_what_is_redriven_says_by_what_decision(
    make_delivery: MakeDelivery,
) -> None:
    by_a_person, by_itself = dead(make_delivery), dead(make_delivery)
    Endpoint.objects.update(state="active")
    operations.redrive([to_uuid(by_a_person.pk)])
    operations.redrive([to_uuid(by_itself.pk)], DeadLetter.Resolution.RECOVERED)
    assert changes(by_a_person.pk) == [("dead", "pending", "redriven")]
    assert changes(by_itself.pk) == [("dead", "pending", "recovered")]


def test_what_is_discarded_says_by_what_decision(make_delivery: MakeDelivery) -> None:
    waiting, letter, old = make_delivery(), dead(make_delivery), dead(make_delivery)
    record([(take_one(waiting).lease, FAILED)])
    operations.discard([to_uuid(waiting.pk), to_uuid(letter.pk)])
    operations.discard([to_uuid(old.pk)], DeadLetter.Resolution.DROPPED)
    assert changes(waiting.pk) == [("waiting", "discarded", "discarded")]
    assert changes(letter.pk) == [("dead", "discarded", "discarded")]
    assert changes(old.pk) == [("dead", "discarded", "dropped")]


@pytest.mark.parametrize("state", ["delivered", "discarded"])
def test_what_had_ended_and_is_sent_again_was_replayed(
    make_delivery: MakeDelivery, state: str
) -> None:
    delivery = make_delivery(state=state, ended_at=timezone.now())
    StateChange.objects.all().delete()
    Delivery.objects.filter(pk=delivery.pk).update(state="pending", ended_at=None)
    assert changes(delivery.pk) == [(state, "pending", "replayed")]


def test_a_decision_is_told_with_whoever_made_it(
    api: APIClient, make_delivery: MakeDelivery
) -> None:
    delivery, other = dead(make_delivery), make_delivery()
    record([(take_one(other).lease, FAILED)])
    assert api.post(f"/api/v1/deliveries/{delivery.pk}/retry/").status_code == 200
    assert api.post(f"/api/v1/deliveries/{other.pk}/discard/").status_code == 200
    told = StateChange.objects.values_list("cause", "actor_kind", "actor_name")
    assert set(told) == {
        ("redriven", "api_key", "the tests"),
        ("discarded", "api_key", "the tests"),
    }


def test_what_is_nobody_s_decision_is_angarium_s_own(make_delivery: MakeDelivery) -> None:
    take(make_delivery(endpoint={"state": "paused"}))
    assert StateChange.objects.get().actor_kind == "angarium"


def test_a_claim_that_is_put_back_over_and_over_is_one_row_that_counts(
    make_delivery: MakeDelivery,
) -> None:
    delivery = make_delivery()
    for _ in range(3):
        put_back([(take_one(delivery).lease, 0.0)])
    assert changes(delivery.pk) == [("sending", "waiting", "put_back")]
    assert StateChange.objects.get().times == 3


def test_after_an_attempt_it_is_counted_anew(make_delivery: MakeDelivery) -> None:
    delivery = make_delivery()
    put_back([(take_one(delivery).lease, 0.0)])
    StateChange.objects.update(at=timezone.now() - timedelta(minutes=1))
    record([(take_one(delivery).lease, FAILED)])
    age(delivery, "next_attempt_at", 1)
    put_back([(take_one(delivery).lease, 0.0)])
    assert list(StateChange.objects.values_list("times", flat=True)) == [1, 1]


class TestQueues:
    @pytest.fixture
    def queued(self, make_endpoint: MakeEndpoint) -> list[str]:
        make_endpoint(ordered=True)
        events = [emit("made.once", {}, ordering_key="order-1") for _ in range(2)]
        return [Delivery.objects.get(event=event).pk for event in events]

    def queues(self) -> list[ordering.Queue]:
        return [(to_uuid(Endpoint.objects.get().pk), "order-1")]

    def test_the_head_has_moved_up(self, queued: list[str]) -> None:
        ordering.advance(self.queues())
        assert changes(queued[0]) == [("queued", "pending", "moved_up")]
        assert changes(queued[1]) == []

    def test_the_head_of_an_endpoint_at_rest_is_held(self, queued: list[str]) -> None:
        Endpoint.objects.update(state="paused")
        ordering.advance(self.queues())
        assert changes(queued[0]) == [("queued", "held", "endpoint_paused")]

    def test_what_left_its_queue_says_that_no_order_is_wanted(self, queued: list[str]) -> None:
        Endpoint.objects.update(ordered=False)
        sweeps.dissolved()
        assert changes(queued[1]) == [("queued", "pending", "unordered")]


class TestBatches:
    @pytest.fixture
    def endpoint(self, make_endpoint: MakeEndpoint) -> Endpoint:
        return make_endpoint(batch_events=3, batch_seconds=5)

    def test_a_batch_is_written_once_for_all_of_it(self, endpoint: Endpoint) -> None:
        lead, *others = gather(3)
        form(endpoint)
        attempt(lead, OK)
        assert changes(lead) == [("gathering", "pending", "batch_formed")]
        assert [changes(other) for other in others] == [[], []]

    def test_the_half_of_one_that_was_too_large_is_a_batch_of_its_own(
        self, endpoint: Endpoint
    ) -> None:
        lead, _, half = gather(3)
        form(endpoint)
        attempt(lead, TOO_LARGE)
        assert changes(half) == [("batched", "pending", "batch_halved")]

    def test_what_has_lost_its_lead_gathers_anew(self, endpoint: Endpoint) -> None:
        lead, other, _ = gather(3)
        form(endpoint)
        operations.discard([to_uuid(lead)])
        sweeps.batched()
        assert changes(other) == [("batched", "gathering", "lead_discarded")]


def test_what_was_fetched_from_a_feed_says_so(subscriber: Subscriber) -> None:
    its_feed = Feed.objects.open(subscriber)
    Subscription.objects.create(endpoint=its_feed, pattern="*")
    delivery = emit("made.once", {}).deliveries.get()
    first = feed.read(its_feed.pk, cursor=None, limit=10)
    feed.read(its_feed.pk, cursor=first.cursor, limit=10)
    assert changes(delivery.pk) == [("held", "delivered", "fetched")]


def test_they_go_with_their_event(make_delivery: MakeDelivery, configure: Configure) -> None:
    configure(EVENT_RETENTION=0)
    delivery = make_delivery()
    operations.discard([to_uuid(delivery.pk)])
    assert retention.old_events() == 1
    assert not StateChange.objects.exists()
