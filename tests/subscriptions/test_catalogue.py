import logging
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from deliveries.emit import emit
from deliveries.models import Delivery, Event
from subscriptions.catalogue import BrokenSchema, catalogue
from subscriptions.event_types import UnknownEventType
from subscriptions.models import EventType, Subscriber, Subscription
from tests.conftest import Configure, MakeEndpoint

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("queue")]

ORDER = {
    "type": "object",
    "properties": {
        "lines": {
            "type": "array",
            "items": {"type": "object", "properties": {"price": {"type": "number"}}},
        }
    },
    "required": ["lines"],
}
GOOD = {"lines": [{"price": 3}]}
BAD = {"lines": [{"price": 3}, {"price": "a secret of the customer's, which is long" * 3}]}


def event_type(name: str = "order.placed", **fields: Any) -> EventType:
    return EventType.objects.create(name=name, **{"schema": ORDER, **fields})


@pytest.fixture(autouse=True)
def fresh() -> None:
    catalogue.forget()


class TestSchema:
    def test_data_that_keeps_to_it_is_emitted(self) -> None:
        event_type()
        assert emit("order.placed", GOOD).data == GOOD

    def test_data_that_breaks_it_is_refused_with_the_path_of_the_fault(self) -> None:
        event_type()
        with pytest.raises(
            BrokenSchema, match=r"^\$\.lines\[1\]\.price: .* not of type"
        ) as refused:
            emit("order.placed", BAD)
        assert len(str(refused.value)) < 120
        assert not Event.objects.exists()

    def test_data_that_lacks_something_is_refused(self) -> None:
        event_type()
        with pytest.raises(BrokenSchema, match=r'^\$: "lines" is a required property'):
            emit("order.placed", {})

    def test_a_type_may_only_warn_and_the_log_shows_no_data(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        event_type(schema_check="warn")
        emit("order.placed", BAD)
        assert "$.lines[1].price" in caplog.text
        assert "secret" not in caplog.text
        assert Event.objects.exists()

    def test_or_nobody_looks(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "subscriptions")
        event_type(schema_check="off")
        emit("order.placed", BAD)
        assert caplog.text == ""

    def test_what_is_sent_is_checked_not_what_was_given(self) -> None:
        event_type()
        assert emit("order.placed", {"lines": ({"price": 3},)}).data == GOOD

    def test_a_change_is_seen_by_the_next_emit(self) -> None:
        one = event_type(schema_check="off")
        emit("order.placed", BAD)
        one.schema_check = "refuse"
        one.save()
        with pytest.raises(BrokenSchema):
            emit("order.placed", BAD)
        one.delete()
        emit("order.placed", BAD)

    def test_a_change_by_other_means_is_seen_when_the_copy_is_old(
        self, configure: Configure
    ) -> None:
        event_type(schema_check="off")
        emit("order.placed", BAD)
        EventType.objects.update(schema_check="refuse")
        emit("order.placed", BAD)
        configure(CATALOGUE_AGE=0)
        with pytest.raises(BrokenSchema):
            emit("order.placed", BAD)

    def test_it_costs_no_query(self, django_assert_num_queries: Any) -> None:
        event_type()
        emit("order.placed", GOOD)
        with django_assert_num_queries(2):
            emit("order.placed", GOOD)


class TestFeatureFlag:
    @pytest.fixture
    def chosen(self) -> Subscriber:
        return Subscriber.objects.create(name="chosen", feature_flags=["beta"])

    def test_events_of_its_type_go_to_those_who_have_it_alone(
        self, make_endpoint: MakeEndpoint, chosen: Subscriber
    ) -> None:
        event_type(feature_flag="beta")
        make_endpoint("*")
        theirs = make_endpoint("*", owner=chosen)
        emit("order.placed", GOOD)
        assert [one.endpoint for one in Delivery.objects.all()] == [theirs]

    def test_to_others_the_type_does_not_exist(
        self, subscriber: Subscriber, chosen: Subscriber, configure: Configure
    ) -> None:
        configure(UNKNOWN_EVENT_TYPES="refuse")
        event_type(feature_flag="beta")
        emit("order.placed", GOOD, subscriber=chosen)
        with pytest.raises(UnknownEventType, match=r"no event type order\.placed"):
            emit("order.placed", GOOD, subscriber=subscriber)

    def test_nobody_else_subscribes_to_it_by_name(
        self, make_endpoint: MakeEndpoint, chosen: Subscriber
    ) -> None:
        event_type(feature_flag="beta")
        Subscription(endpoint=make_endpoint("a", owner=chosen), pattern="order.placed").clean()
        other = Subscription(endpoint=make_endpoint("a"), pattern="order.placed")
        with pytest.raises(ValidationError, match=r"no event type order\.placed"):
            other.clean()

    def test_those_who_have_it_cost_no_query_more(
        self, make_endpoint: MakeEndpoint, chosen: Subscriber, django_assert_num_queries: Any
    ) -> None:
        event_type(feature_flag="beta", schema=None)
        make_endpoint("*", owner=chosen)
        emit("order.placed", GOOD)
        with django_assert_num_queries(2):
            emit("order.placed", GOOD)


class TestUnknownTypes:
    def test_they_are_emitted_unless_that_is_refused(self, configure: Configure) -> None:
        emit("order.placed", {})
        configure(UNKNOWN_EVENT_TYPES="refuse")
        with pytest.raises(UnknownEventType, match="add it to the catalogue first"):
            emit("order.placed", {})

    def test_nor_are_they_subscribed_to(
        self, configure: Configure, make_endpoint: MakeEndpoint
    ) -> None:
        configure(UNKNOWN_EVENT_TYPES="refuse")
        endpoint = make_endpoint("order.*")
        with pytest.raises(ValidationError):
            Subscription(endpoint=endpoint, pattern="order.placed").clean()
        event_type()
        Subscription(endpoint=endpoint, pattern="order.placed").clean()


class TestEventType:
    @pytest.mark.parametrize(
        ("fields", "field", "says"),
        [
            ({"schema": []}, "schema", "A schema is a JSON object"),
            ({"schema": {"type": "strnig"}}, "schema", "strnig"),
            ({"schema": {"$schema": "http://json-schema.org/draft-07/schema#"}}, "schema", "only"),
            ({"schema": {"$ref": "https://example.com/schema.json"}}, "schema", "not present"),
            ({"schema": {"pattern": "(?<=a)b"}}, "schema", "regex"),
            ({"schema": {"description": "x" * 70_000}}, "schema", "bytes"),
            ({"schema": {"description": "\0"}}, "schema", "NUL"),
            ({"example": {"lines": 3}}, "example", r"breaks the schema: \$\.lines"),
            ({"example": "\0", "schema": None}, "example", "NUL"),
        ],
    )
    def test_what_it_cannot_be_is_said_of_the_field(
        self, fields: dict[str, Any], field: str, says: str
    ) -> None:
        with pytest.raises(ValidationError, match=says) as refused:
            EventType(**{"name": "a", "schema": ORDER, **fields}).clean()
        assert list(refused.value.message_dict) == [field]

    def test_one_with_an_example_that_keeps_to_its_schema_is_taken(self) -> None:
        EventType(name="a", schema=ORDER, example=GOOD).clean()

    def test_nothing_is_fetched_and_no_pattern_takes_for_ever(self) -> None:
        event_type("slow", schema={"type": "string", "pattern": "^(a+)+$"})
        with pytest.raises(BrokenSchema):
            emit("slow", "a" * 50_000 + "!")
