import json
from datetime import UTC, datetime
from typing import Any

import pytest
from rest_framework.test import APIClient

from deliveries.emit import emit
from deliveries.models import Event
from subscriptions.models import Endpoint, Feed, Subscriber, Subscription
from tests.api_client import faults
from tests.conftest import MakeEndpoint


@pytest.fixture
def endpoint(subscriber: Subscriber) -> Endpoint:
    endpoint = Feed.objects.open(subscriber)
    Subscription.objects.create(endpoint=endpoint, pattern="invoice.*")
    return endpoint


def path_of(subscriber: Subscriber) -> str:
    return f"/api/v1/subscribers/{subscriber.pk}/feed/"


def test_a_feed_is_fetched_page_by_page(
    api: APIClient, endpoint: Endpoint, subscriber: Subscriber
) -> None:
    at = datetime(2026, 7, 1, 12, tzinfo=UTC)
    events = [emit("invoice.paid", {"n": n}, occurred_at=at) for n in range(3)]
    first = api.get(path_of(subscriber), {"page_size": 2})
    assert first.status_code == 200
    assert first.headers["Content-Type"] == "application/json"
    assert first.headers["Cache-Control"] == "no-store"
    page = first.json()
    assert page["has_more"] is True
    assert page["items"] == [
        {
            "id": event.pk,
            "type": "invoice.paid",
            "timestamp": "2026-07-01T12:00:00Z",
            "data": {"n": n},
        }
        for n, event in enumerate(events[:2])
    ]
    page = api.get(path_of(subscriber), {"cursor": page["cursor"]}).json()
    assert ([item["id"] for item in page["items"]], page["has_more"]) == ([events[2].pk], False)


def test_an_event_s_data_comes_byte_for_byte(
    api: APIClient, endpoint: Endpoint, subscriber: Subscriber
) -> None:
    event = emit("invoice.paid", {"rate": 1e22, "whole": 10**30, "z": "é\0", "a": [1.10]})
    assert f'"data":{event.payload}}}' in api.get(path_of(subscriber)).content.decode()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": ""}, "cursor"),
        ({"page_size": "0"}, "page_size"),
        ({"page_size": "201"}, "page_size"),
        ({"page_size": "many"}, "page_size"),
        ({"types": "invoice.*"}, "types"),
    ],
)
def test_what_is_wrong_with_the_query_is_said_of_the_parameter(
    api: APIClient,
    endpoint: Endpoint,
    subscriber: Subscriber,
    query: dict[str, str],
    field: str,
) -> None:
    response = api.get(path_of(subscriber), query)
    assert (response.status_code, faults(response)) == (400, [field])


def test_a_subscriber_without_a_feed_is_told_how_to_have_one(
    api: APIClient, make_endpoint: MakeEndpoint, subscriber: Subscriber
) -> None:
    make_endpoint()
    response = api.get(path_of(subscriber))
    assert (response.status_code, faults(response)) == (404, ["detail"])
    assert '"feed": true' in response.json()["detail"]


def test_a_cursor_whose_events_are_past_their_retention_is_answered_with_one_to_go_on_from(
    api: APIClient, endpoint: Endpoint, subscriber: Subscriber
) -> None:
    start = api.get(path_of(subscriber)).json()["cursor"]
    lost, kept = emit("invoice.paid", 1), emit("invoice.paid", 2)
    api.get(path_of(subscriber))
    Event.objects.filter(pk=lost.pk).delete()
    response = api.get(path_of(subscriber), {"cursor": start})
    assert (response.status_code, faults(response)) == (410, ["detail", "cursor"])
    page = api.get(path_of(subscriber), {"cursor": response.json()["cursor"]}).json()
    assert [item["id"] for item in page["items"]] == [kept.pk]


def test_the_document_has_an_example_of_a_page(schema: dict[str, Any]) -> None:
    operation = schema["paths"]["/api/v1/subscribers/{id}/feed/"]["get"]
    assert {"200", "410"} <= set(operation["responses"])
    assert {one["name"] for one in operation["parameters"]} == {"id", "cursor", "page_size"}
    content = operation["responses"]["200"]["content"]["application/json"]
    [example] = content["examples"].values()
    assert set(example["value"]) == {"items", "cursor", "has_more"}
    assert json.dumps(example["value"])
