import logging
from typing import Any

import pytest
from cryptography.fernet import Fernet
from rest_framework.test import APIClient

from subscriptions import encryption
from subscriptions.credentials import EndpointCredentials, parse_credentials
from subscriptions.models import Endpoint, Subscriber
from tests.api_client import faults
from tests.conftest import Configure, MakeEndpoint
from tests.webhooks.sending.certificates import Authority

ENDPOINTS = "/api/v1/endpoints/"
URL = "https://example.com/webhooks"
BASIC = {"kind": "basic", "user": "angarium", "password": "open sesame"}


def path_of(endpoint: Endpoint) -> str:
    return f"{ENDPOINTS}{endpoint.pk}/"


def credentials_of(endpoint: Endpoint) -> EndpointCredentials:
    endpoint.refresh_from_db()
    return parse_credentials(encryption.decrypt(endpoint.credentials or ""))


def shown(api: APIClient, endpoint: Endpoint) -> tuple[list[str], dict[str, str]]:
    body = api.get(path_of(endpoint)).json()
    assert "headers" not in body
    return body["header_names"], body["authentication"]


@pytest.mark.parametrize(
    ("authentication", "seen"),
    [
        ({"kind": "none"}, {"kind": "none"}),
        (BASIC, {"kind": "basic", "user": "angarium"}),
        ({"kind": "bearer", "token": "open-sesame"}, {"kind": "bearer"}),
        (
            {"kind": "header", "name": "X-Key", "value": "open sesame"},
            {"kind": "header", "name": "X-Key"},
        ),
        (
            {
                "kind": "oauth2",
                "token_url": "https://login.example.com/token",
                "client_id": "angarium",
                "client_secret": "open sesame",
            },
            {
                "kind": "oauth2",
                "token_url": "https://login.example.com/token",
                "client_id": "angarium",
                "scope": "",
            },
        ),
    ],
)
def test_secrets_go_in_and_never_come_out(
    api: APIClient,
    subscriber: Subscriber,
    caplog: pytest.LogCaptureFixture,
    authentication: dict[str, str],
    seen: dict[str, str],
) -> None:
    caplog.set_level(logging.DEBUG)
    headers = {"X-Tenant": "open sesame", "X-Empty": ""}
    body = {
        "subscriber": subscriber.pk,
        "url": URL,
        "headers": headers,
        "authentication": authentication,
    }
    added = api.post(ENDPOINTS, body)
    assert added.status_code == 201
    endpoint = Endpoint.objects.get()
    assert shown(api, endpoint) == (["X-Tenant", "X-Empty"], seen)
    assert added.json()["authentication"] == seen
    changed = api.patch(path_of(endpoint), {"authentication": authentication})
    assert changed.json()["authentication"] == seen
    for response in (added, changed, api.get(path_of(endpoint)), api.get(ENDPOINTS)):
        assert "sesame" not in response.content.decode()
    assert "sesame" not in caplog.text

    stored = credentials_of(endpoint)
    assert (stored.headers, stored.authentication.as_stored()) == (
        headers,
        {**seen, **authentication},
    )
    row = Endpoint.objects.values().get()
    assert "sesame" not in str(row)


def test_of_a_client_certificate_subject_and_end_are_shown(
    api: APIClient, make_endpoint: MakeEndpoint, authority: Authority
) -> None:
    pair = authority.certificate("us.example")
    body = {"authentication": {"kind": "mtls", "certificate": pair.chain, "key": pair.key}}
    response = api.patch(path_of(make_endpoint()), body)
    assert response.status_code == 200
    seen = response.json()["authentication"]
    assert (seen["kind"], seen["subject"]) == ("mtls", "CN=us.example")
    assert seen["expires_at"].endswith("Z")
    assert "PRIVATE" not in response.content.decode()


def test_each_is_changed_without_the_other(api: APIClient, make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    api.patch(path_of(endpoint), {"headers": {"x-a": "1"}})
    api.patch(path_of(endpoint), {"authentication": BASIC})
    api.patch(path_of(endpoint), {"description": "x"})
    assert shown(api, endpoint) == (["x-a"], {"kind": "basic", "user": "angarium"})
    api.patch(path_of(endpoint), {"headers": {"x-b": "2"}})
    assert credentials_of(endpoint).headers == {"x-b": "2"}
    assert credentials_of(endpoint).authentication.as_stored() == BASIC
    api.patch(path_of(endpoint), {"headers": {}})
    assert shown(api, endpoint) == ([], {"kind": "basic", "user": "angarium"})


@pytest.mark.parametrize("kept", [{"headers": {"x-a": "1"}}, {"authentication": BASIC}])
def test_they_do_not_move_to_another_host(
    api: APIClient, make_endpoint: MakeEndpoint, kept: dict[str, Any]
) -> None:
    endpoint = make_endpoint(url="https://example.com/a")
    api.patch(path_of(endpoint), kept)
    for elsewhere in ("https://example.net/a", "https://example.com:8443/a"):
        response = api.patch(path_of(endpoint), {"url": elsewhere})
        assert response.status_code == 400
        assert "another host" in response.json()["url"][0]
    assert api.patch(path_of(endpoint), {"url": "https://EXAMPLE.com:443/b"}).status_code == 200
    moved = {"url": "https://example.net/a", "headers": {}, "authentication": {"kind": "none"}}
    assert api.patch(path_of(endpoint), moved).status_code == 200


def test_an_endpoint_with_none_of_them_stores_nothing(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint()
    api.patch(path_of(endpoint), {"headers": {"x-a": "1"}, "authentication": BASIC})
    api.patch(path_of(endpoint), {"headers": {}, "authentication": {"kind": "none"}})
    endpoint.refresh_from_db()
    assert (endpoint.credentials, endpoint.credentials_shown) == (None, None)


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"headers": None}, "headers"),
        ({"headers": ["x"]}, "headers"),
        ({"headers": {"x-a": None}}, "headers"),
        ({"headers": {"x-a": {}}}, "headers"),
        ({"headers": {"x-a": "sesame\r\nx-b: 2"}}, "headers"),
        ({"headers": {"Webhook-Id": "sesame"}}, "headers"),
        ({"headers": {"Host": "sesame"}}, "headers"),
        ({"headers": {"": "sesame"}}, "headers"),
        ({"headers": {f"x-{n}": "sesame" for n in range(21)}}, "headers"),
        ({"headers": {"x-a": "sesame" * 1000}}, "headers"),
        ({"headers": {"Authorization": "sesame"}, "authentication": BASIC}, "headers"),
        ({"authentication": None}, "authentication"),
        ({"authentication": "basic"}, "authentication"),
        ({"authentication": {"kind": "sesame"}}, "authentication"),
        ({"authentication": {"kind": "basic", "password": "sesame"}}, "authentication"),
        ({"authentication": {**BASIC, "password": "sesame\n"}}, "authentication"),
        ({"header_names": []}, "header_names"),
        ({"credentials": "sesame"}, "credentials"),
    ],
)
def test_what_is_wrong_is_said_of_the_field_and_not_repeated(
    api: APIClient, subscriber: Subscriber, changes: dict[str, Any], refused: str
) -> None:
    response = api.post(ENDPOINTS, {"subscriber": subscriber.pk, "url": URL, **changes})
    assert (response.status_code, faults(response)) == (400, [refused])
    assert "sesame" not in response.content.decode()
    assert not Endpoint.objects.exists()


def test_a_header_and_an_authentication_that_set_the_same_are_refused_one_by_one_too(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint()
    api.patch(path_of(endpoint), {"headers": {"Authorization": "x"}})
    oauth2 = {
        "kind": "oauth2",
        "token_url": "https://login.example.com/",
        "client_id": "a",
        "client_secret": "b",
    }
    for authentication in (BASIC, oauth2):
        response = api.patch(path_of(endpoint), {"authentication": authentication})
        assert (response.status_code, faults(response)) == (400, ["headers"])
    assert shown(api, endpoint) == (["Authorization"], {"kind": "none"})


def test_what_no_key_opens_is_shown_and_replaced_but_not_changed_in_part(
    api: APIClient, make_endpoint: MakeEndpoint, configure: Configure
) -> None:
    endpoint = make_endpoint()
    api.patch(path_of(endpoint), {"headers": {"x-a": "1"}, "authentication": BASIC})
    configure(ENCRYPTION_KEYS=[Fernet.generate_key().decode()])
    assert shown(api, endpoint) == (["x-a"], {"kind": "basic", "user": "angarium"})
    refusal = api.patch(path_of(endpoint), {"headers": {"x-b": "2"}})
    assert refusal.status_code == 409
    assert "put the key that encrypted it back" in refusal.json()["detail"]
    anew = {"headers": {"x-b": "2"}, "authentication": {"kind": "none"}}
    assert api.patch(path_of(endpoint), anew).status_code == 200
    assert credentials_of(endpoint).headers == {"x-b": "2"}


def test_they_go_with_a_deleted_endpoint(api: APIClient, make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    api.patch(path_of(endpoint), {"authentication": BASIC})
    api.delete(path_of(endpoint))
    endpoint.refresh_from_db()
    assert (endpoint.state, endpoint.credentials, endpoint.credentials_shown) == (
        "deleted",
        None,
        None,
    )


def test_the_openapi_document_has_every_kind_with_its_secrets_write_only(
    schema: dict[str, Any],
) -> None:
    for name in ("Endpoint", "NewEndpoint", "PatchedEndpoint"):
        properties = schema["components"]["schemas"][name]["properties"]
        kinds = {
            kind["properties"]["kind"]["enum"][0]: {
                name for name, one in kind["properties"].items() if one.get("writeOnly")
            }
            for kind in properties["authentication"]["oneOf"]
        }
        assert kinds == {
            "none": set(),
            "basic": {"password"},
            "bearer": {"token"},
            "header": {"value"},
            "mtls": {"certificate", "key"},
            "oauth2": {"client_secret"},
        }
        assert properties["headers"]["writeOnly"]
        assert properties["header_names"]["readOnly"]
