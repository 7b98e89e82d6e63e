import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from deliveries.emit import IdempotencyConflict, InvalidEvent, emit
from deliveries.models import Delivery, Event
from subscriptions.event_types import InvalidEventType
from subscriptions.models import Endpoint, Subscriber
from tests.conftest import Configure, MakeEndpoint, Queue
from tests.subscriptions.test_filtering import COSTLY
from webhooks.payloads import InvalidPayload

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


def test_an_event_has_one_delivery_for_each_endpoint_that_asked(
    make_endpoint: MakeEndpoint,
) -> None:
    paid, everything = make_endpoint("invoice.paid"), make_endpoint("*")
    make_endpoint("order.*")
    event = emit("invoice.paid", {"amount": 100}, occurred_at=NOON)
    event.refresh_from_db()
    assert event.delivery_count == 2
    assert {delivery.endpoint for delivery in event.deliveries.all()} == {paid, everything}
    assert (event.type, event.data, event.occurred_at) == ("invoice.paid", {"amount": 100}, NOON)
    assert event.fanned_out_at is not None


def test_an_event_nobody_asked_for_is_kept_without_deliveries() -> None:
    assert emit("invoice.paid", {}).delivery_count == 0
    assert Event.objects.count() == 1


@pytest.mark.parametrize("how", [lambda owner: owner, lambda owner: owner.pk])
def test_an_event_of_one_subscriber_stays_theirs(
    make_endpoint: MakeEndpoint, how: Callable[[Subscriber], Any]
) -> None:
    other = Subscriber.objects.create(name="Croesus")
    make_endpoint()
    theirs = make_endpoint(owner=other)
    event = emit("invoice.paid", {}, subscriber=how(other))
    assert [delivery.endpoint for delivery in event.deliveries.all()] == [theirs]


@pytest.mark.parametrize("state", [Endpoint.State.PAUSED, Endpoint.State.DISABLED])
def test_what_an_endpoint_at_rest_misses_is_held_for_it(
    make_endpoint: MakeEndpoint, state: str
) -> None:
    make_endpoint(state=state)
    event = emit("invoice.paid", {})
    assert event.deliveries.get().state == "held"


def test_channels_are_kept_with_the_event_and_narrow_who_gets_it(
    make_endpoint: MakeEndpoint,
) -> None:
    everything, eu, us = make_endpoint(), make_endpoint(), make_endpoint()
    eu.subscriptions.update(channels=["eu", "project-42"])
    us.subscriptions.update(channels=["us"])
    event = emit("invoice.paid", {}, channels=("project-42", "asia", "asia"))
    event.refresh_from_db()
    assert event.channels == ["asia", "project-42"]
    assert {delivery.endpoint for delivery in event.deliveries.all()} == {everything, eu}


@pytest.mark.parametrize("channels", [None, [], ()])
def test_an_event_on_no_channel_has_none(make_endpoint: MakeEndpoint, channels: Any) -> None:
    make_endpoint().subscriptions.update(channels=["eu"])
    event = emit("invoice.paid", {}, channels=channels)
    event.refresh_from_db()
    assert (event.channels, event.delivery_count) == (None, 0)


def test_a_filter_decides_by_the_data_as_it_is_sent(make_endpoint: MakeEndpoint) -> None:
    large, small = make_endpoint(), make_endpoint()
    large.subscriptions.update(filter="lines[0].amount > `100`")
    small.subscriptions.update(filter="lines[0].amount <= `100`")
    event = emit("invoice.paid", {"lines": ({"amount": 120},)})
    assert [delivery.endpoint for delivery in event.deliveries.all()] == [large]
    assert event.delivery_count == 1


def test_an_endpoint_that_asks_twice_gets_it_where_one_of_them_matches(
    make_endpoint: MakeEndpoint,
) -> None:
    endpoint = make_endpoint("invoice.*", "invoice.paid")
    endpoint.subscriptions.filter(pattern="invoice.*").update(filter="`false`")
    assert emit("invoice.paid", {}).delivery_count == 1
    assert emit("invoice.voided", {}).delivery_count == 0


def test_a_filter_that_fails_lets_the_event_pass_and_is_counted(
    make_endpoint: MakeEndpoint,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    endpoint = make_endpoint()
    endpoint.subscriptions.update(filter="starts_with(name, 'A')")
    with django_capture_on_commit_callbacks(execute=True):
        assert emit("user.created", {}).delivery_count == 1
    subscription = endpoint.subscriptions.get()
    assert subscription.filter_failures == 1
    assert subscription.filter_error == "starts_with() takes string, not null."


def test_filters_that_take_long_are_left_to_the_fan_out(make_endpoint: MakeEndpoint) -> None:
    for number in range(12):
        make_endpoint().subscriptions.update(filter=f"{COSTLY} == `{number}`")
    event = emit("invoice.paid", [1])
    assert (event.delivery_count, event.fanned_out_at) == (0, None)
    assert not Delivery.objects.exists()


def test_an_emission_takes_two_statements_with_filters_and_without(
    make_endpoint: MakeEndpoint, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    endpoint = make_endpoint()
    emit("invoice.paid", {})  # the catalogue is read now and then, and known in between
    with django_assert_num_queries(2):
        emit("invoice.paid", {})
    endpoint.subscriptions.update(filter="`true`", channels=["eu"])
    with django_assert_num_queries(2):
        emit("invoice.paid", {}, channels=["eu"])


class TestIdempotencyKeys:
    def test_the_same_key_with_the_same_content_returns_the_first_event(
        self, make_endpoint: MakeEndpoint
    ) -> None:
        make_endpoint()
        first = emit("invoice.paid", {"a": 1, "b": [2]}, idempotency_key="k")
        again = emit("invoice.paid", {"b": [2], "a": 1}, idempotency_key="k")
        assert again.pk == first.pk
        assert again.delivery_count == 1
        assert Delivery.objects.count() == 1

    @pytest.mark.parametrize(
        "other",
        [
            {"type": "invoice.voided"},
            {"data": {"a": 2}},
            {"data": {"a": True}},
            {"occurred_at": NOON},
            {"channels": ["eu"]},
            {"ordering_key": "order-1"},
        ],
    )
    def test_the_same_key_with_other_content_is_an_error(self, other: dict[str, Any]) -> None:
        first = emit("invoice.paid", {"a": 1}, idempotency_key="k")
        with pytest.raises(IdempotencyConflict, match=first.pk):
            emit(**{"type": "invoice.paid", "data": {"a": 1}, **other}, idempotency_key="k")
        assert Event.objects.count() == 1

    def test_each_subscriber_has_keys_of_its_own(self, subscriber: Subscriber) -> None:
        other = Subscriber.objects.create(name="Croesus")
        made = {
            emit("invoice.paid", {}, subscriber=owner, idempotency_key="k").pk
            for owner in (subscriber, other, None)
        }
        assert len(made) == 3

    @pytest.mark.parametrize("owner", [True, False])
    def test_the_database_holds_that_too(self, subscriber: Subscriber, owner: bool) -> None:
        columns = {
            "type": "a",
            "payload": "{}",
            "idempotency_key": "k",
            "subscriber": subscriber if owner else None,
        }
        Event.objects.create(**columns)
        with pytest.raises(IntegrityError, match="event_idempotency_key_once"):
            Event.objects.create(**columns)

    @pytest.mark.django_db(transaction=True)
    def test_of_many_that_come_at_once_one_makes_the_event(
        self, make_endpoint: MakeEndpoint
    ) -> None:
        make_endpoint()

        def once(_: int) -> str:
            try:
                return emit("invoice.paid", {"a": 1}, idempotency_key="k").pk
            finally:
                connection.close()

        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(once, range(16)))) == 1
        assert Event.objects.count() == Delivery.objects.count() == 1


class TestRefusals:
    @pytest.mark.parametrize(
        ("wrong", "error"),
        [
            ({"type": "not a type"}, InvalidEventType),
            ({"type": ""}, InvalidEventType),
            ({"data": math.nan}, InvalidPayload),
            ({"data": {"at": datetime.now(UTC)}}, InvalidPayload),
            ({"data": {1: 2}}, InvalidPayload),
            ({"data": "x" * 300_000}, InvalidPayload),
            ({"data": "\ud800"}, InvalidPayload),
            ({"subscriber": "sub_" + "0" * 32}, InvalidEvent),
            ({"subscriber": "nonsense"}, InvalidEvent),
            ({"subscriber": ""}, InvalidEvent),
            ({"channels": "eu"}, InvalidEvent),
            ({"channels": ["a b"]}, InvalidEvent),
            ({"channels": [str(n) for n in range(11)]}, InvalidEvent),
            ({"idempotency_key": ""}, InvalidEvent),
            ({"idempotency_key": "x" * 256}, InvalidEvent),
            ({"idempotency_key": "a\x00b"}, InvalidEvent),
            ({"occurred_at": datetime(2026, 7, 1)}, InvalidEvent),  # noqa: DTZ001
        ],
    )
    def test_a_bad_argument_is_told_before_anything_is_written(
        self, make_endpoint: MakeEndpoint, wrong: dict[str, Any], error: type[ValueError]
    ) -> None:
        make_endpoint()
        with pytest.raises(error):
            emit(**{"type": "invoice.paid", "data": {}, **wrong})
        assert not Event.objects.exists()

    def test_data_that_is_too_deep_is_told_whatever_the_depth(self) -> None:
        data: Any = None
        for _ in range(100_000):
            data = [data]
        with pytest.raises(InvalidPayload, match="deep"):
            emit("invoice.paid", data)

    def test_the_size_limit_is_a_setting(self, configure: Configure) -> None:
        configure(MAX_PAYLOAD_BYTES=10)
        emit("invoice.paid", "12345678")
        with pytest.raises(InvalidPayload, match="10"):
            emit("invoice.paid", "123456789")


class TestPublishing:
    def test_waits_for_the_commit(
        self,
        make_endpoint: MakeEndpoint,
        queue: Queue,
        django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    ) -> None:
        make_endpoint()
        make_endpoint()
        with django_capture_on_commit_callbacks() as callbacks:
            event = emit("invoice.paid", {})
        assert queue.messages() == []
        for callback in callbacks:
            callback()
        assert queue.deliveries() == {delivery.pk for delivery in event.deliveries.all()}

    @pytest.mark.django_db(transaction=True)
    def test_is_rolled_back_with_the_caller(
        self, make_endpoint: MakeEndpoint, queue: Queue
    ) -> None:
        make_endpoint()
        with transaction.atomic():
            emit("invoice.paid", {})
            transaction.set_rollback(True)
        assert not Event.objects.exists()
        assert queue.messages() == []

    @pytest.mark.django_db(transaction=True)
    def test_carries_the_delivery_s_id_and_nothing_else(
        self, make_endpoint: MakeEndpoint, queue: Queue
    ) -> None:
        make_endpoint()
        event = emit("invoice.paid", {"secret": "of the customer"})
        assert queue.messages() == [("deliveries.deliver", [event.deliveries.get().pk])]

    @pytest.mark.django_db(transaction=True)
    def test_says_nothing_for_what_is_held(self, make_endpoint: MakeEndpoint, queue: Queue) -> None:
        make_endpoint(state=Endpoint.State.PAUSED)
        emit("invoice.paid", {})
        assert queue.messages() == []

    @pytest.mark.django_db(transaction=True)
    def test_leaves_many_deliveries_to_the_fan_out(
        self, make_endpoint: MakeEndpoint, queue: Queue, configure: Configure
    ) -> None:
        configure(FAN_OUT_INLINE_LIMIT=2)
        for _ in range(3):
            make_endpoint()
        event = emit("invoice.paid", {})
        assert event.delivery_count == 0
        assert event.fanned_out_at is None
        assert not Delivery.objects.exists()
        assert queue.messages("housekeeping") == [("deliveries.fan_out", [event.pk])]
