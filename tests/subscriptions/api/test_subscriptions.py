from typing import Any

import pytest
from rest_framework.test import APIClient

from subscriptions.models import Subscription
from tests.api_client import faults, queries_of_get, written
from tests.conftest import MakeEndpoint

SUBSCRIPTIONS = "/api/v1/subscriptions/"


def test_a_subscription_is_added_switched_off_and_on_and_deleted(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint("order.*")
    added = api.post(SUBSCRIPTIONS, {"endpoint": endpoint.pk, "pattern": "invoice.*"})
    assert added.status_code == 201
    subscription = Subscription.objects.get(pattern="invoice.*")
    path = f"{SUBSCRIPTIONS}{subscription.pk}/"
    shown = api.get(path).json()
    assert shown == added.json()
    assert shown == {
        "id": subscription.pk,
        "endpoint": endpoint.pk,
        "pattern": "invoice.*",
        "channels": [],
        "filter": "",
        "enabled": True,
        "created_at": written(subscription.created_at),
        "filter_failures": 0,
        "filter_failed_at": None,
        "filter_error": "",
    }
    assert api.patch(path, {"enabled": False}).json() == {**shown, "enabled": False}
    subscription.refresh_from_db()
    assert not subscription.enabled
    assert api.patch(path, {"enabled": True}).json() == shown
    assert api.delete(path).status_code == 204
    assert api.get(path).status_code == 404


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"endpoint": "nonsense"}, "endpoint"),
        ({"endpoint": "ep_" + "f" * 32}, "endpoint"),
        ({"endpoint": None}, "endpoint"),
        ({"pattern": ""}, "pattern"),
        ({"pattern": "*.paid"}, "pattern"),
        ({"pattern": "invoice.*.late"}, "pattern"),
        ({"pattern": "a" * 129}, "pattern"),
        ({"pattern": "a\0"}, "pattern"),
        ({"pattern": ["a"]}, "pattern"),
        ({"enabled": "perhaps"}, "enabled"),
        ({"enabled": None}, "enabled"),
        ({"id": "sbn_" + "0" * 32}, "id"),
        ({"patern": "a"}, "patern"),
        ({"pattern": "taken"}, "non_field_errors"),
        ({"channels": None}, "channels"),
        ({"channels": "eu"}, "channels"),
        ({"channels": ["a b"]}, "channels"),
        ({"channels": [{}]}, "channels"),
        ({"channels": ["a" * 129]}, "channels"),
        ({"channels": [str(n) for n in range(11)]}, "channels"),
        ({"filter": None}, "filter"),
        ({"filter": ["a"]}, "filter"),
        ({"filter": "a["}, "filter"),
        ({"filter": "a\0"}, "filter"),
        ({"filter": "a" * 1025}, "filter"),
        ({"filter": "'" + "é" * 600 + "'"}, "filter"),
        ({"filter_failures": 0}, "filter_failures"),
    ],
)
def test_what_is_wrong_with_a_subscription_is_said_of_the_field(
    api: APIClient, make_endpoint: MakeEndpoint, changes: dict[str, Any], field: str
) -> None:
    endpoint = make_endpoint("taken")
    response = api.post(SUBSCRIPTIONS, {"endpoint": endpoint.pk, "pattern": "a", **changes})
    assert (response.status_code, faults(response)) == (400, [field])
    assert Subscription.objects.count() == 1


def test_a_deleted_endpoint_cannot_subscribe(api: APIClient, make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    endpoint.delete_for_good()
    response = api.post(SUBSCRIPTIONS, {"endpoint": endpoint.pk, "pattern": "a"})
    assert (response.status_code, faults(response)) == (400, ["endpoint"])


@pytest.mark.parametrize("field", ["endpoint", "pattern", "id", "created_at"])
def test_whose_a_subscription_is_and_its_pattern_stay(
    api: APIClient, make_endpoint: MakeEndpoint, field: str
) -> None:
    make_endpoint("a")
    subscription = Subscription.objects.get()
    response = api.patch(f"{SUBSCRIPTIONS}{subscription.pk}/", {field: make_endpoint("b").pk})
    assert (response.status_code, faults(response)) == (400, [field])


def test_a_bad_filter_is_refused_with_the_place_and_the_reason(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    asked = {"endpoint": make_endpoint("a").pk, "pattern": "b", "filter": "amount > > `1`"}
    answer = api.post(SUBSCRIPTIONS, asked).json()
    assert answer["filter"] == ["Column 10: “>” is not expected here."]


def test_an_endpoint_may_ask_for_one_pattern_in_several_ways(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    asked = {"endpoint": make_endpoint("invoice.*").pk, "pattern": "invoice.*"}
    for more in (
        {"channels": ["us", "eu", "us"]},
        {"filter": "amount > `100`"},
        {"filter": "amount > `100`", "channels": ["eu"]},
    ):
        added = api.post(SUBSCRIPTIONS, {**asked, **more})
        assert added.status_code == 201
        assert added.json()["channels"] == sorted(set(more.get("channels", [])))
        again = api.post(SUBSCRIPTIONS, {**asked, **more})
        assert (again.status_code, faults(again)) == (400, ["non_field_errors"])


def test_channels_and_filter_are_changed_and_failures_are_counted_anew(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint("a")
    Subscription.objects.update(filter="sum(n)", filter_failures=5, filter_error="x")
    subscription = Subscription.objects.get()
    path = f"{SUBSCRIPTIONS}{subscription.pk}/"
    assert api.patch(path, {"channels": ["us", "eu"]}).json()["filter_failures"] == 5
    changed = api.patch(path, {"filter": "length(n) > `1`"}).json()
    assert (changed["filter_failures"], changed["filter_error"]) == (0, "")
    subscription.refresh_from_db()
    assert (subscription.channels, subscription.filter) == (["eu", "us"], "length(n) > `1`")
    cleared = api.patch(path, {"channels": [], "filter": ""}).json()
    assert (cleared["channels"], cleared["filter"]) == ([], "")


def test_a_change_that_makes_two_subscriptions_the_same_is_refused(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint("a")
    other = Subscription.objects.create(endpoint=endpoint, pattern="a", filter="b")
    response = api.patch(f"{SUBSCRIPTIONS}{other.pk}/", {"filter": ""})
    assert (response.status_code, faults(response)) == (400, ["non_field_errors"])
    assert api.patch(f"{SUBSCRIPTIONS}{other.pk}/", {"filter": "b"}).status_code == 200


def test_subscriptions_are_filtered_by_endpoint_and_by_whether_they_are_on(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint("a", "b")
    make_endpoint("c")
    endpoint.subscriptions.filter(pattern="a").update(enabled=False)

    def found(**filters: str) -> list[str]:
        return [one["pattern"] for one in api.get(SUBSCRIPTIONS, filters).json()["results"]]

    assert found() == ["c", "b", "a"]
    assert found(endpoint=endpoint.pk) == ["b", "a"]
    assert found(endpoint=endpoint.pk, enabled="true") == ["b"]
    assert found(enabled="false") == ["a"]


def test_a_list_takes_as_many_queries_for_twenty_as_for_one(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint("a")
    for_one = queries_of_get(api, SUBSCRIPTIONS)
    make_endpoint(*[f"b{n}" for n in range(19)])
    assert queries_of_get(api, SUBSCRIPTIONS) == for_one
