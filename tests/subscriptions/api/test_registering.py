"""Endpoints that are challenged, that are fetched, and that are there already."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from subscriptions.models import Endpoint, Feed, Handshake, SigningSecret, Subscriber
from tests.api_client import faults, written
from tests.conftest import Configure, MakeEndpoint

ENDPOINTS = "/api/v1/endpoints/"
URL = "https://example.com/webhooks"


def path_of(endpoint: Endpoint, action: str = "") -> str:
    return f"{ENDPOINTS}{endpoint.pk}/{action}"


class TestHandshakes:
    def add(self, api: APIClient, subscriber: Subscriber, **more: Any) -> dict[str, Any]:
        response = api.post(ENDPOINTS, {"subscriber": subscriber.pk, "url": URL, **more})
        assert response.status_code == 201, response.content
        added: dict[str, Any] = response.json()
        return added

    def test_an_endpoint_that_has_to_answer_a_challenge_begins_unverified(
        self, api: APIClient, subscriber: Subscriber
    ) -> None:
        added = self.add(api, subscriber, require_handshake=True)
        handshake = Handshake.objects.get()
        assert added["state"] == "unverified"
        assert added["handshake"] == {
            "required_at": written(handshake.required_at),
            "tries": 0,
            "tried_at": None,
            "outcome": None,
            "status": None,
            "error": "",
            "response_body": "",
            "due_at": written(handshake.due_at),
            "verified_at": None,
        }
        assert api.get(path_of(Endpoint.objects.get())).json()["handshake"] == added["handshake"]

    def test_none_has_to_unless_it_is_said(self, api: APIClient, subscriber: Subscriber) -> None:
        for more in ({}, {"require_handshake": False}):
            added = self.add(api, subscriber, **more)
            assert (added["state"], added["handshake"]) == ("active", None)

    def test_where_the_setting_says_so_all_have_to(
        self, api: APIClient, subscriber: Subscriber, configure: Configure
    ) -> None:
        configure(REQUIRE_HANDSHAKE=True)
        assert self.add(api, subscriber)["state"] == "unverified"
        body = {"subscriber": subscriber.pk, "url": URL, "require_handshake": False}
        response = api.post(ENDPOINTS, body)
        assert (response.status_code, faults(response)) == (400, ["require_handshake"])

    def test_it_is_said_when_an_endpoint_is_added_and_not_taken_back(
        self, api: APIClient, make_endpoint: MakeEndpoint
    ) -> None:
        response = api.patch(path_of(make_endpoint()), {"require_handshake": False})
        assert (response.status_code, faults(response)) == (400, ["require_handshake"])

    @pytest.mark.parametrize(
        ("url", "state"),
        [
            ("https://other.example.com/", "unverified"),
            ("https://example.com:8443/", "unverified"),
            ("https://example.com/elsewhere", "active"),
            ("https://EXAMPLE.com:443/", "active"),
        ],
    )
    def test_one_that_moves_to_another_host_has_to_anew(
        self, api: APIClient, make_endpoint: MakeEndpoint, url: str, state: str
    ) -> None:
        endpoint = make_endpoint(url=URL)
        Handshake.objects.create(
            endpoint=endpoint, required_at=endpoint.created_at, verified_at=endpoint.created_at
        )
        moved = api.patch(path_of(endpoint), {"url": url}).json()
        assert moved["state"] == state
        assert (moved["handshake"]["verified_at"] is None) == (state == "unverified")

    @pytest.mark.parametrize(("required", "state"), [(False, "active"), (True, "unverified")])
    def test_one_that_never_had_to_has_to_when_it_moves_if_the_setting_says_so(
        self,
        api: APIClient,
        make_endpoint: MakeEndpoint,
        configure: Configure,
        required: bool,
        state: str,
    ) -> None:
        configure(REQUIRE_HANDSHAKE=required)
        endpoint = make_endpoint(url=URL)
        answer = api.patch(path_of(endpoint), {"url": "https://other.example.com/"})
        assert answer.json()["state"] == state

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("active", "unverified"),
            ("unverified", "unverified"),
            ("paused", "paused"),
            ("disabled", "disabled"),
        ],
    )
    def test_any_is_challenged_when_somebody_asks(
        self, api: APIClient, make_endpoint: MakeEndpoint, before: str, after: str
    ) -> None:
        endpoint = make_endpoint(state=before)
        answer = api.post(path_of(endpoint, "verify/"))
        assert (answer.status_code, answer.json()["state"]) == (200, after)
        assert answer.json()["handshake"]["due_at"] is not None
        assert api.post(path_of(endpoint, "resume/")).json()["state"] == "unverified"

    def test_pausing_and_resuming_is_no_way_around_it(
        self, api: APIClient, subscriber: Subscriber
    ) -> None:
        added = self.add(api, subscriber, require_handshake=True)
        for action in ("pause", "resume", "resume"):
            state = api.post(f"{ENDPOINTS}{added['id']}/{action}/").json()["state"]
        assert state == "unverified"

    def test_endpoints_are_listed_by_it_with_no_query_for_each(
        self,
        api: APIClient,
        make_endpoint: MakeEndpoint,
        django_assert_num_queries: Any,
    ) -> None:
        make_endpoint()
        for _ in range(3):
            make_endpoint().require_handshake()
        with django_assert_num_queries(5):
            found = api.get(ENDPOINTS, {"state": "unverified"}).json()["results"]
        assert [one["handshake"]["tries"] for one in found] == [0, 0, 0]


class TestFeeds:
    def test_a_feed_has_subscriptions_and_neither_url_nor_secret(
        self, api: APIClient, subscriber: Subscriber
    ) -> None:
        body = {
            "subscriber": subscriber.pk,
            "feed": True,
            "description": "Behind a firewall",
            "subscriptions": ["invoice.*"],
        }
        response = api.post(ENDPOINTS, body)
        assert response.status_code == 201
        added = response.json()
        assert (added["url"], added["state"], added["secret"]) == ("", "feed", None)
        assert added["description"] == "Behind a firewall"
        assert added["subscriptions"] == ["invoice.*"]
        assert Feed.objects.get().endpoint_id == added["id"]
        assert not SigningSecret.objects.exists()
        assert api.get(path_of(Endpoint.objects.get())).status_code == 200

    def test_a_subscriber_has_one_at_most(self, api: APIClient, subscriber: Subscriber) -> None:
        body = {"subscriber": subscriber.pk, "feed": True}
        first = api.post(ENDPOINTS, body).json()
        response = api.post(ENDPOINTS, body)
        assert (response.status_code, faults(response)) == (400, ["feed"])
        assert api.delete(f"{ENDPOINTS}{first['id']}/").status_code == 204
        assert api.post(ENDPOINTS, body).status_code == 201

    @pytest.mark.parametrize(
        "more",
        [
            {"url": URL},
            {"headers": {}},
            {"authentication": {"kind": "none"}},
            {"payload": "thin"},
            {"batch_events": 5},
            {"secret_kind": "ed25519"},
            {"require_handshake": True},
        ],
    )
    def test_what_only_a_url_has_is_refused(
        self, api: APIClient, subscriber: Subscriber, more: dict[str, Any]
    ) -> None:
        response = api.post(ENDPOINTS, {"subscriber": subscriber.pk, "feed": True, **more})
        assert (response.status_code, faults(response)) == (400, list(more))
        if "secret_kind" not in more and "require_handshake" not in more:
            path = path_of(Feed.objects.open(subscriber))
            assert faults(api.patch(path, more)) == list(more)

    def test_a_url_is_required_of_any_other_endpoint(
        self, api: APIClient, subscriber: Subscriber
    ) -> None:
        for more in ({}, {"feed": False}):
            response = api.post(ENDPOINTS, {"subscriber": subscriber.pk, **more})
            assert (response.status_code, faults(response)) == (400, ["url"])

    def test_what_it_asks_for_can_be_changed(self, api: APIClient, subscriber: Subscriber) -> None:
        path = path_of(Feed.objects.open(subscriber))
        changes = {"subscriptions": ["order.*"], "description": "Depot"}
        changed = api.patch(path, changes).json()
        assert {name: changed[name] for name in changes} == changes

    @pytest.mark.parametrize("action", ["pause", "resume", "verify"])
    def test_what_concerns_sending_is_refused(
        self, api: APIClient, subscriber: Subscriber, action: str
    ) -> None:
        endpoint = Feed.objects.open(subscriber)
        response = api.post(path_of(endpoint, f"{action}/"))
        assert (response.status_code, faults(response)) == (409, ["detail"])
        endpoint.refresh_from_db()
        assert endpoint.state == "feed"

    def test_the_setting_that_requires_handshakes_leaves_it_alone(
        self, api: APIClient, subscriber: Subscriber, configure: Configure
    ) -> None:
        configure(REQUIRE_HANDSHAKE=True)
        response = api.post(ENDPOINTS, {"subscriber": subscriber.pk, "feed": True})
        assert response.json()["state"] == "feed"

    def test_a_subscriber_whose_feed_is_deleted_can_be_deleted(
        self, api: APIClient, subscriber: Subscriber
    ) -> None:
        api.delete(path_of(Feed.objects.open(subscriber)))
        assert api.delete(f"/api/v1/subscribers/{subscriber.pk}/").status_code == 204


class TestDoubles:
    @pytest.mark.parametrize(
        "url",
        [
            URL,
            "HTTPS://EXAMPLE.com/webhooks",
            "https://example.com:443/webhooks",
        ],
    )
    def test_a_url_that_the_subscriber_has_is_taken_and_warned_of(
        self, api: APIClient, make_endpoint: MakeEndpoint, subscriber: Subscriber, url: str
    ) -> None:
        there = make_endpoint(url=url)
        response = api.post(ENDPOINTS, {"subscriber": subscriber.pk, "url": URL})
        assert response.status_code == 201
        [warning] = response.json()["warnings"]
        assert there.pk in warning

    def test_an_empty_path_is_that_of_the_root(
        self, api: APIClient, make_endpoint: MakeEndpoint, subscriber: Subscriber
    ) -> None:
        make_endpoint(url="https://example.com")
        body = {"subscriber": subscriber.pk, "url": "https://example.com/"}
        assert len(api.post(ENDPOINTS, body).json()["warnings"]) == 1

    @pytest.mark.parametrize(
        "url",
        [
            "https://example.com/Webhooks",
            "https://example.com/webhooks/",
            "https://example.com/webhooks?a",
            "https://example.com:8443/webhooks",
            "http://example.com/webhooks",
            "https://10.0.0.1/webhooks",
        ],
    )
    def test_another_url_is_not(
        self, api: APIClient, make_endpoint: MakeEndpoint, subscriber: Subscriber, url: str
    ) -> None:
        make_endpoint(url=url)
        body = {"subscriber": subscriber.pk, "url": URL}
        assert api.post(ENDPOINTS, body).json()["warnings"] == []

    def test_nor_is_another_subscriber_s_or_one_of_an_endpoint_that_is_deleted(
        self, api: APIClient, make_endpoint: MakeEndpoint, subscriber: Subscriber
    ) -> None:
        make_endpoint(url=URL, owner=Subscriber.objects.create(name="Croesus"))
        make_endpoint(url=URL).delete_for_good()
        body = {"subscriber": subscriber.pk, "url": URL}
        assert api.post(ENDPOINTS, body).json()["warnings"] == []

    def test_one_that_moves_there_is_warned_of_as_well(
        self, api: APIClient, make_endpoint: MakeEndpoint
    ) -> None:
        make_endpoint(url=URL)
        endpoint = make_endpoint(url="https://example.com/elsewhere")
        assert api.patch(path_of(endpoint), {"description": "a"}).json()["warnings"] == []
        assert len(api.patch(path_of(endpoint), {"url": URL}).json()["warnings"]) == 1

    def test_of_many_some_are_named(
        self, api: APIClient, make_endpoint: MakeEndpoint, subscriber: Subscriber
    ) -> None:
        for _ in range(5):
            make_endpoint(url=URL)
        body = {"subscriber": subscriber.pk, "url": URL}
        [warning] = api.post(ENDPOINTS, body).json()["warnings"]
        assert warning.count("ep_") == 3
        assert "and others" in warning
