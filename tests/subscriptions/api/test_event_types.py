from typing import Any

import pytest
from rest_framework.test import APIClient

from subscriptions.models import ApiKey, EventType, Subscriber
from tests.api_client import client_of, faults, queries_of_get, written
from tests.conftest import MakeEndpoint

EVENT_TYPES = "/api/v1/event-types/"


def test_an_event_type_is_added_shown_changed_and_deleted(api: APIClient) -> None:
    added = api.post(EVENT_TYPES, {"name": "invoice.paid", "description": "Money came in."})
    assert added.status_code == 201
    path = f"{EVENT_TYPES}invoice.paid/"
    shown = api.get(path)
    assert shown.json() == added.json()
    assert shown.json() == {
        "name": "invoice.paid",
        "group": "",
        "description": "Money came in.",
        "archived": False,
        "feature_flag": "",
        "schema": None,
        "schema_check": "refuse",
        "example": None,
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


class TestSchema:
    NARROW = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    WIDE = {"type": "object", "properties": {"n": {"type": "integer"}}}

    def test_it_is_taken_with_its_example_and_shown(self, api: APIClient) -> None:
        body = {"name": "a", "group": "Billing", "schema": self.NARROW, "example": {"n": 1}}
        added = api.post(EVENT_TYPES, body)
        assert added.status_code == 201
        assert api.get(f"{EVENT_TYPES}a/").json().items() >= body.items()

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"schema": []}, "schema"),
            ({"schema": {"type": "strnig"}}, "schema"),
            ({"schema": NARROW, "example": {"n": "x"}}, "example"),
            ({"schema_check": "maybe"}, "schema_check"),
            ({"feature_flag": "a b"}, "feature_flag"),
        ],
    )
    def test_what_is_wrong_with_it_is_said_of_the_field(
        self, api: APIClient, body: dict[str, Any], field: str
    ) -> None:
        EventType.objects.create(name="b")
        added = api.post(EVENT_TYPES, {"name": "a", **body})
        changed = api.patch(f"{EVENT_TYPES}b/", body)
        for response in (added, changed):
            assert (response.status_code, faults(response)) == (400, [field])

    def test_one_that_breaks_promises_is_refused_with_what_it_breaks_unless_accepted(
        self, api: APIClient
    ) -> None:
        EventType.objects.create(name="a", schema=self.NARROW)
        path = f"{EVENT_TYPES}a/"
        refused = api.patch(path, {"schema": self.WIDE})
        assert refused.status_code == 409
        assert refused.json()["breaking"] == [
            {
                "event_type": "a",
                "path": "$.n",
                "verdict": "breaks",
                "reason": "It may be missing now.",
            }
        ]
        assert api.patch(path, {"description": "Another."}).status_code == 200
        accepted = api.patch(path, {"schema": self.WIDE, "accept_breaking": True})
        assert accepted.json()["schema"] == self.WIDE
        assert api.patch(path, {"schema": self.NARROW}).status_code == 200

    def test_an_event_that_breaks_it_is_refused_with_the_path(self, api: APIClient) -> None:
        EventType.objects.create(name="a", schema=self.NARROW)
        response = api.post("/api/v1/events/", {"type": "a", "data": {"n": "x"}})
        assert response.status_code == 400
        assert response.json()["data"] == ['$.n: "x" is not of type "integer"']


def test_a_type_with_a_feature_flag_is_there_for_those_who_have_it_alone(
    api: APIClient, subscriber: Subscriber
) -> None:
    EventType.objects.create(name="open")
    EventType.objects.create(name="hidden", feature_flag="beta")
    bound = client_of(ApiKey(name="bound", subscriber=subscriber))

    def seen() -> list[str]:
        return [one["name"] for one in bound.get(EVENT_TYPES).json()["results"]]

    assert seen() == ["open"]
    assert bound.get(f"{EVENT_TYPES}hidden/").status_code == 404
    changed = api.patch(f"/api/v1/subscribers/{subscriber.pk}/", {"feature_flags": ["beta"]})
    assert changed.json()["feature_flags"] == ["beta"]
    assert seen() == ["hidden", "open"]
    assert len(api.get(EVENT_TYPES).json()["results"]) == 2


def test_nobody_subscribes_to_what_is_hidden_from_them(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    EventType.objects.create(name="hidden", feature_flag="beta")
    endpoint = make_endpoint(url="https://example.com/")
    body = {"endpoint": endpoint.pk, "pattern": "hidden"}
    answers = [
        api.post("/api/v1/subscriptions/", body),
        api.patch(f"/api/v1/endpoints/{endpoint.pk}/", {"subscriptions": ["hidden"]}),
        api.post(
            "/api/v1/endpoints/",
            {
                "subscriber": endpoint.subscriber_id,
                "url": "https://example.com/2",
                "subscriptions": ["hidden"],
            },
        ),
    ]
    for response in answers:
        assert response.status_code == 400
        assert "There is no event type hidden" in response.content.decode()


class TestCatalogue:
    EXPORT, IMPORT = "/api/v1/catalogue/export/", "/api/v1/catalogue/import/"

    def test_it_is_exported_and_imported_as_one_document(self, api: APIClient) -> None:
        EventType.objects.create(name="a", group="Billing")
        exported = api.get(self.EXPORT).json()
        assert exported["event_types"][0]["group"] == "Billing"
        EventType.objects.all().delete()
        asked = {"catalogue": exported}
        assert api.post(self.IMPORT, {**asked, "dry_run": True}).json()["made"] == ["a"]
        assert not EventType.objects.exists()
        assert api.post(self.IMPORT, asked).json() == {
            "made": ["a"],
            "changed": [],
            "left": [],
            "archived": [],
            "breaking": [],
        }
        assert api.get(self.EXPORT).json() == exported

    def test_what_it_breaks_is_told_with_the_refusal(self, api: APIClient) -> None:
        EventType.objects.create(name="a", schema=TestSchema.NARROW)
        catalogue = {"version": 1, "event_types": [{"name": "a", "schema": TestSchema.WIDE}]}
        refused = api.post(self.IMPORT, {"catalogue": catalogue})
        assert refused.status_code == 409
        assert refused.json()["breaking"][0]["path"] == "$.n"
        taken = api.post(self.IMPORT, {"catalogue": catalogue, "accept_breaking": True})
        assert taken.json()["changed"] == ["a"]

    def test_a_document_that_is_none_is_refused_with_the_place(self, api: APIClient) -> None:
        wrong = {"version": 1, "event_types": [{"name": "a b"}]}
        response = api.post(self.IMPORT, {"catalogue": wrong})
        assert (response.status_code, faults(response)) == (400, ["catalogue"])
        assert "event_types[0].name" in response.json()["catalogue"][0]
