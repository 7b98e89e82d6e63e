from typing import Any

import pytest
from rest_framework.test import APIClient

from subscriptions.models import EventType
from tests.api_client import faults, queries_of_get, written

EVENT_TYPES = "/api/v1/event-types/"


def test_an_event_type_is_added_shown_changed_and_deleted(api: APIClient) -> None:
    added = api.post(EVENT_TYPES, {"name": "invoice.paid", "description": "Money came in."})
    assert added.status_code == 201
    path = f"{EVENT_TYPES}invoice.paid/"
    shown = api.get(path)
    assert shown.json() == added.json()
    assert shown.json() == {
        "name": "invoice.paid",
        "description": "Money came in.",
        "archived": False,
        "created_at": written(EventType.objects.get().created_at),
    }
    assert api.patch(path, {"archived": True}).json() == {**shown.json(), "archived": True}
    assert api.delete(path).status_code == 204
    assert api.get(path).status_code == 404
    assert not EventType.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"name": ["a"]}, "name"),
        ({"name": "invoice.*"}, "name"),
        ({"name": "invoice..paid"}, "name"),
        ({"name": "invoice paid"}, "name"),
        ({"name": "a" * 129}, "name"),
        ({"name": "taken"}, "name"),
        ({"name": "a", "description": None}, "description"),
        ({"name": "a", "description": {}}, "description"),
        ({"name": "a", "archived": "perhaps"}, "archived"),
        ({"name": "a", "created_at": "2020-01-01T00:00:00Z"}, "created_at"),
        ({"name": "a", "descripton": "a typing error"}, "descripton"),
    ],
)
def test_what_is_wrong_with_an_event_type_is_said_of_the_field(
    api: APIClient, body: dict[str, Any], field: str
) -> None:
    EventType.objects.create(name="taken")
    response = api.post(EVENT_TYPES, body)
    assert (response.status_code, faults(response)) == (400, [field])
    assert EventType.objects.count() == 1


@pytest.mark.parametrize("field", ["name", "created_at", "id"])
def test_the_name_of_an_event_type_stays(api: APIClient, field: str) -> None:
    EventType.objects.create(name="invoice.paid")
    response = api.patch(f"{EVENT_TYPES}invoice.paid/", {field: "invoice.settled"})
    assert (response.status_code, faults(response)) == (400, [field])
    assert EventType.objects.get().name == "invoice.paid"


@pytest.mark.parametrize("name", ["unknown", "invoice.", "*", "é", "%00", "%ED%A0%80", "a%0a"])
def test_an_event_type_that_is_not_there_is_not_found(api: APIClient, name: str) -> None:
    response = api.get(f"{EVENT_TYPES}{name}/")
    assert response.status_code == (400 if name == "%00" else 404)
    assert faults(response) == ["detail"]


def test_event_types_are_filtered_by_whether_they_are_archived(api: APIClient) -> None:
    EventType.objects.create(name="old", archived=True)
    EventType.objects.create(name="new")
    found = api.get(EVENT_TYPES, {"archived": "false"}).json()["results"]
    assert [one["name"] for one in found] == ["new"]


def test_a_list_refuses_a_filter_it_does_not_know(api: APIClient) -> None:
    response = api.get(EVENT_TYPES, {"archivd": "true"})
    assert (response.status_code, faults(response)) == (400, ["archivd"])


def test_a_list_takes_as_many_queries_for_twenty_as_for_one(api: APIClient) -> None:
    EventType.objects.create(name="a")
    for_one = queries_of_get(api, EVENT_TYPES)
    EventType.objects.bulk_create(EventType(name=f"a.{n}") for n in range(19))
    assert queries_of_get(api, EVENT_TYPES) == for_one


def test_there_is_no_put(api: APIClient) -> None:
    EventType.objects.create(name="a")
    assert api.put(f"{EVENT_TYPES}a/", {"name": "b"}).status_code == 405
