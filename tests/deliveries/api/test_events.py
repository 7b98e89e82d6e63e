import json
from typing import Any

import pytest
from rest_framework.test import APIClient

from deliveries.emit import emit
from deliveries.models import Delivery, Event
from subscriptions.models import Subscriber
from tests.api_client import faults, queries_of_get, written
from tests.conftest import Configure, MakeEndpoint, Queue

EVENTS = "/api/v1/events/"
PAID = {"type": "invoice.paid", "data": {"amount": 1200}}


def test_an_event_is_emitted_to_whoever_asked_for_it(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    asked = make_endpoint("invoice.*")
    make_endpoint("order.*")
    response = api.post(EVENTS, {**PAID, "occurred_at": "2026-07-01T14:00:00+02:00"})
    assert response.status_code == 201
    event = Event.objects.get()
    assert response.json() == {
        "id": event.pk,
        "type": "invoice.paid",
        "subscriber": None,
        "channels": [],
        "occurred_at": "2026-07-01T12:00:00Z",
        "created_at": written(event.created_at),
        "idempotency_key": None,
        "ordering_key": None,
        "delivery_count": 1,
        "fanned_out_at": written(event.fanned_out_at),
    }
    assert event.data == {"amount": 1200}
    assert Delivery.objects.get().endpoint == asked


def test_an_event_for_one_subscriber_reaches_no_other(
    api: APIClient, subscriber: Subscriber, make_endpoint: MakeEndpoint
) -> None:
    ours = make_endpoint("invoice.*")
    make_endpoint("invoice.*", owner=Subscriber.objects.create(name="Croesus"))
    response = api.post(EVENTS, {**PAID, "subscriber": subscriber.pk})
    assert response.json()["subscriber"] == subscriber.pk
    assert Delivery.objects.get().endpoint == ours


def test_an_event_on_channels_reaches_who_asked_for_one_of_them(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    eu, us = make_endpoint("invoice.*"), make_endpoint("invoice.*")
    eu.subscriptions.update(channels=["eu"])
    us.subscriptions.update(channels=["us"])
    response = api.post(EVENTS, {**PAID, "channels": ["eu", "asia"]})
    assert response.json()["channels"] == ["asia", "eu"]
    assert api.get(f"{EVENTS}{response.json()['id']}/").json()["channels"] == ["asia", "eu"]
    assert Delivery.objects.get().endpoint == eu


@pytest.mark.parametrize(
    ("came", "kept"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        ("00-00000000000000000000000000000000-b7ad6b7169203331-01", False),
        ("nonsense", False),
        ("", False),
    ],
)
def test_an_event_belongs_to_the_trace_that_its_request_came_with(
    api: APIClient, came: str, kept: bool
) -> None:
    assert api.post(EVENTS, PAID, headers={"traceparent": came}).status_code == 201
    assert Event.objects.get().traceparent == (came if kept else None)
    api.post(EVENTS, PAID)
    assert Event.objects.latest("pk").traceparent is None


def test_an_event_with_an_ordering_key_waits_its_turn(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint("invoice.*", ordered=True)
    event = api.post(EVENTS, {**PAID, "ordering_key": " invoice 42"}).json()
    assert event["ordering_key"] == " invoice 42"
    [delivery] = api.get("/api/v1/deliveries/", {"state": "queued"}).json()["results"]
    assert delivery["event"] == event["id"]


def test_a_forgotten_slash_does_not_turn_an_emission_into_something_else(api: APIClient) -> None:
    assert api.post(EVENTS.removesuffix("/"), PAID).status_code == 201
    assert Event.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_workers_are_told_of_an_event(
    api: APIClient, make_endpoint: MakeEndpoint, queue: Queue
) -> None:
    make_endpoint("invoice.*")
    assert api.post(EVENTS, PAID).status_code == 201
    assert queue.deliveries() == {Delivery.objects.get().pk}


@pytest.mark.parametrize(
    "data", [None, 0, "text", [], {"a": [1.5, True, None]}, {"ünïcode": "a\0b"}, {"big": 2**80}]
)
def test_data_is_any_json_and_is_shown_as_it_came(api: APIClient, data: Any) -> None:
    event = api.post(EVENTS, {"type": "a", "data": data}).json()["id"]
    assert api.get(f"{EVENTS}{event}/").json()["data"] == data


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"type": ""}, "type"),
        ({"type": None}, "type"),
        ({"type": "invoice.*"}, "type"),
        ({"type": "a b"}, "type"),
        ({"type": "a\0"}, "type"),
        ({"type": "a" * 129}, "type"),
        ({"type": ["a"]}, "type"),
        ({"data": "x" * (256 * 1024)}, "data"),
        ({"ordering_key": ""}, "ordering_key"),
        ({"ordering_key": "x" * 256}, "ordering_key"),
        ({"ordering_key": "a\u200bb"}, "ordering_key"),
        ({"ordering_key": ["a"]}, "ordering_key"),
        ({"subscriber": "nonsense"}, "subscriber"),
        ({"subscriber": "sub_" + "f" * 32}, "subscriber"),
        ({"subscriber": "a\0"}, "subscriber"),
        ({"subscriber": 5}, "subscriber"),
        ({"channels": "eu"}, "channels"),
        ({"channels": ["a b"]}, "channels"),
        ({"channels": [None]}, "channels"),
        ({"channels": [str(n) for n in range(11)]}, "channels"),
        ({"occurred_at": "yesterday"}, "occurred_at"),
        ({"occurred_at": "2026-02-30T00:00:00Z"}, "occurred_at"),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "occurred_at"),
        ({"occurred_at": "9999-12-31T23:59:59-14:00"}, "occurred_at"),
        ({"occurred_at": 1700000000}, "occurred_at"),
        ({"id": "evt_" + "0" * 32}, "id"),
        ({"idempotency_key": "in the body"}, "idempotency_key"),
        ({"delivery_count": 5}, "delivery_count"),
        ({"payload": "{}"}, "payload"),
    ],
)
def test_what_is_wrong_with_an_event_is_said_of_the_field(
    api: APIClient, make_endpoint: MakeEndpoint, changes: dict[str, Any], field: str
) -> None:
    make_endpoint()
    response = api.post(EVENTS, {**PAID, **changes})
    assert (response.status_code, faults(response)) == (400, [field])
    assert not Event.objects.exists()
    assert not Delivery.objects.exists()


@pytest.mark.parametrize("missing", ["type", "data"])
def test_an_event_needs_a_type_and_data(api: APIClient, missing: str) -> None:
    response = api.post(EVENTS, {name: value for name, value in PAID.items() if name != missing})
    assert (response.status_code, faults(response)) == (400, [missing])


@pytest.mark.parametrize(
    "key", ["", "x" * 256, "a\0b", "a\tb", "a\u200bb".encode().decode("latin-1")]
)
def test_an_idempotency_key_that_cannot_be_one_is_refused(api: APIClient, key: str) -> None:
    response = api.post(EVENTS, PAID, headers={"Idempotency-Key": key})
    assert (response.status_code, faults(response)) == (400, ["idempotency_key"])
    assert not Event.objects.exists()


def test_the_same_key_and_content_lead_to_the_first_event(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint()
    headers = {"Idempotency-Key": "order-42"}
    first = api.post(EVENTS, PAID, headers=headers)
    again = api.post(EVENTS, PAID, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert first.json()["idempotency_key"] == "order-42"
    assert Delivery.objects.count() == 1


def test_the_same_key_and_other_content_is_a_mistake(api: APIClient) -> None:
    headers = {"Idempotency-Key": "order-42"}
    first = api.post(EVENTS, PAID, headers=headers).json()["id"]
    response = api.post(EVENTS, {**PAID, "data": {"amount": 1}}, headers=headers)
    assert (response.status_code, faults(response)) == (422, ["idempotency_key"])
    assert first in response.json()["idempotency_key"][0]
    assert Event.objects.count() == 1


def test_an_event_tells_how_its_deliveries_fare(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    active, paused = make_endpoint(), make_endpoint(state="paused")
    event = emit("invoice.paid", {"amount": 1})
    shown = api.get(f"{EVENTS}{event.pk}/").json()
    assert shown["data"] == {"amount": 1}
    assert [(one["endpoint"], one["state"]) for one in shown["deliveries"]] == [
        (paused.pk, "held"),
        (active.pk, "pending"),
    ]
    listed = api.get(shown["deliveries_url"]).json()["results"]
    assert [one["id"] for one in listed] == [one["id"] for one in shown["deliveries"]]


def test_an_event_shows_its_newest_hundred_deliveries(
    api: APIClient, make_endpoint: MakeEndpoint, configure: Configure
) -> None:
    configure(FAN_OUT_INLINE_LIMIT=200)
    for _ in range(101):
        make_endpoint()
    event = emit("invoice.paid", {})
    shown = api.get(f"{EVENTS}{event.pk}/").json()
    assert (shown["delivery_count"], len(shown["deliveries"])) == (101, 100)


def test_events_are_filtered_by_type_and_subscriber(api: APIClient, subscriber: Subscriber) -> None:
    paid, theirs = emit("invoice.paid", {}), emit("invoice.sent", {}, subscriber=subscriber)

    def found(**filters: str) -> list[str]:
        return [one["id"] for one in api.get(EVENTS, filters).json()["results"]]

    assert found() == [theirs.pk, paid.pk]
    assert found(type="invoice.paid") == [paid.pk]
    assert found(subscriber=subscriber.pk) == [theirs.pk]
    assert found(type="invoice.paid", subscriber=subscriber.pk) == []


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ({"type": "invoice.*"}, "type"),
        ({"type": "a\0"}, "type"),
        ({"subscriber": "nonsense"}, "subscriber"),
        ({"typ": "invoice.paid"}, "typ"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(
    api: APIClient, filters: dict[str, str], field: str
) -> None:
    response = api.get(EVENTS, filters)
    assert (response.status_code, faults(response)) == (400, [field])


def test_a_list_leaves_the_data_out_and_takes_one_query_for_one_and_for_twenty(
    api: APIClient, subscriber: Subscriber
) -> None:
    emit("a", {"word": "recognisable"}, subscriber=subscriber)
    for_one = queries_of_get(api, EVENTS)
    for _ in range(19):
        emit("a", {"word": "recognisable"}, subscriber=subscriber)
    assert queries_of_get(api, EVENTS) == for_one
    assert "recognisable" not in json.dumps(api.get(EVENTS).json())


def test_an_event_is_not_changed_or_deleted(api: APIClient) -> None:
    path = f"{EVENTS}{emit('a', {}).pk}/"
    for method in ("put", "patch", "delete"):
        assert getattr(api, method)(path).status_code == 405
    assert Event.objects.exists()


@pytest.mark.parametrize("key", ["nonsense", "dlv_" + "0" * 32, "evt_" + "f" * 32])
def test_an_event_that_is_not_there_is_not_found(api: APIClient, key: str) -> None:
    assert api.get(f"{EVENTS}{key}/").status_code == 404
