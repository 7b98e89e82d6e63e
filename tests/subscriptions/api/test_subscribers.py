from typing import Any

import pytest
from rest_framework.test import APIClient

from deliveries.emit import emit
from subscriptions.models import Endpoint, Subscriber
from tests.api_client import faults, queries_of_get, written
from tests.conftest import MakeEndpoint

SUBSCRIBERS = "/api/v1/subscribers/"


def test_a_subscriber_is_added_shown_changed_and_deleted(api: APIClient) -> None:
    added = api.post(SUBSCRIBERS, {"name": "Croesus", "external_id": "42"})
    assert added.status_code == 201
    subscriber = Subscriber.objects.get()
    path = f"{SUBSCRIBERS}{subscriber.pk}/"
    shown = api.get(path).json()
    assert shown == added.json()
    assert shown == {
        "id": subscriber.pk,
        "name": "Croesus",
        "external_id": "42",
        "feature_flags": [],
        "operator": False,
        "created_at": written(subscriber.created_at),
    }
    assert api.patch(path, {"external_id": None}).json() == {**shown, "external_id": None}
    assert api.delete(path).status_code == 204
    assert api.get(path).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": " "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "a", "external_id": "taken"}, "external_id"),
        ({"name": "a", "external_id": "x" * 201}, "external_id"),
        ({"name": "a", "id": "sub_00000000000000000000000000000000"}, "id"),
        ({"name": "a", "nmae": "b"}, "nmae"),
    ],
)
def test_what_is_wrong_with_a_subscriber_is_said_of_the_field(
    api: APIClient, body: dict[str, Any], field: str
) -> None:
    Subscriber.objects.create(name="first", external_id="taken")
    response = api.post(SUBSCRIBERS, body)
    assert (response.status_code, faults(response)) == (400, [field])
    assert Subscriber.objects.count() == 1


@pytest.mark.parametrize(
    "key", ["nonsense", "ep_00000000000000000000000000000000", "sub_0", "sub_" + "f" * 32]
)
def test_a_subscriber_that_is_not_there_is_not_found(api: APIClient, key: str) -> None:
    response = api.get(f"{SUBSCRIBERS}{key}/")
    assert (response.status_code, faults(response)) == (404, ["detail"])


def test_a_subscriber_with_endpoints_is_not_deleted(
    api: APIClient, subscriber: Subscriber, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint()
    response = api.delete(f"{SUBSCRIBERS}{subscriber.pk}/")
    assert response.status_code == 409
    assert "delete them first" in response.json()["detail"]
    assert Subscriber.objects.exists()


def test_a_subscriber_goes_with_endpoints_that_are_deleted_already(
    api: APIClient, subscriber: Subscriber, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint().delete_for_good()
    assert api.delete(f"{SUBSCRIBERS}{subscriber.pk}/").status_code == 204
    assert not Subscriber.objects.exists()
    assert not Endpoint.objects.exists()


@pytest.mark.parametrize("addressed", [True, False])
def test_a_subscriber_stays_as_long_as_its_events_or_deliveries_are_kept(
    api: APIClient, subscriber: Subscriber, make_endpoint: MakeEndpoint, addressed: bool
) -> None:
    endpoint = make_endpoint()
    event = emit("a", {}, subscriber=subscriber if addressed else None)
    endpoint.delete_for_good()
    path = f"{SUBSCRIBERS}{subscriber.pk}/"
    response = api.delete(path)
    assert response.status_code == 409
    assert "on record" in response.json()["detail"]
    assert Endpoint.objects.exists()
    event.delete()
    assert api.delete(path).status_code == 204


def test_a_subscriber_is_found_by_its_id_in_the_other_system(api: APIClient) -> None:
    wanted = Subscriber.objects.create(name="a", external_id="42")
    Subscriber.objects.create(name="b", external_id="43")
    found = api.get(SUBSCRIBERS, {"external_id": "42"}).json()["results"]
    assert [one["id"] for one in found] == [wanted.pk]


def test_a_list_takes_as_many_queries_for_twenty_as_for_one(api: APIClient) -> None:
    Subscriber.objects.create(name="a")
    for_one = queries_of_get(api, SUBSCRIBERS)
    Subscriber.objects.bulk_create(Subscriber(name=f"{n}") for n in range(19))
    assert queries_of_get(api, SUBSCRIBERS) == for_one
