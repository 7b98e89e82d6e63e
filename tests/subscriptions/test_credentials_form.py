"""The admin takes custom headers and authentications in, and no page of it tells a secret."""

import logging
import re

import pytest
from cryptography.fernet import Fernet
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from subscriptions import encryption
from subscriptions.credentials import EndpointCredentials, parse_credentials
from subscriptions.models import Endpoint, Subscriber
from tests.conftest import Configure, MakeEndpoint
from tests.subscriptions.test_admin import (
    ENDPOINTS,
    change,
    form_of,
    formset,
    new_endpoint,
    page_of,
)
from tests.webhooks.sending.certificates import Authority

pytestmark = pytest.mark.django_db

BASIC = {
    "authentication": "basic",
    "basic_user": "angarium",
    "basic_password": "open sesame",
}


def credentials_of(endpoint: Endpoint) -> EndpointCredentials:
    endpoint.refresh_from_db()
    return parse_credentials(encryption.decrypt(endpoint.credentials or ""))


def refused(client: Client, endpoint: Endpoint, **fields: str) -> tuple[dict[str, list[str]], str]:
    """The errors of a change that is refused, and the page that tells them."""
    response = client.post(page_of(endpoint), {**form_of(endpoint), **fields})
    assert response.status_code == 200
    return response.context["adminform"].form.errors, response.content.decode()


@pytest.mark.parametrize(
    "fields",
    [
        BASIC,
        {"authentication": "bearer", "bearer_token": "open-sesame"},
        {"authentication": "header", "header_name": "X-Key", "header_value": "open sesame"},
        {
            "authentication": "oauth2",
            "oauth2_token_url": "https://login.example.com/token",
            "oauth2_client_id": "angarium",
            "oauth2_client_secret": "open sesame",
            "oauth2_scope": "a b",
        },
    ],
)
def test_no_page_tells_what_was_set(
    admin_client: Client,
    make_endpoint: MakeEndpoint,
    caplog: pytest.LogCaptureFixture,
    fields: dict[str, str],
) -> None:
    caplog.set_level(logging.DEBUG)
    endpoint = make_endpoint(url="https://example.com/")
    headers = "X-Tenant: open sesame\r\nX-Empty:\r\n"
    change(admin_client, endpoint, url=endpoint.url, headers=headers, **fields)
    stored = credentials_of(endpoint)
    assert stored.headers == {"X-Tenant": "open sesame", "X-Empty": ""}
    kind = fields["authentication"]
    assert stored.authentication.as_stored() == {
        "kind": kind,
        **{name.removeprefix(f"{kind}_"): text for name, text in fields.items() if "_" in name},
    }
    pages = [
        admin_client.get(url).content.decode()
        for url in (
            page_of(endpoint),
            ENDPOINTS,
            reverse("admin:subscriptions_endpoint_history", args=[endpoint.pk]),
            reverse("admin:index"),
        )
    ]
    assert "X-Tenant, X-Empty" in pages[0]
    assert f"kind {kind}" in pages[0]
    told = "".join(pages) + LogEntry.objects.get().change_message + caplog.text
    assert not re.search("open.sesame", told)


def test_a_client_certificate_is_set(
    admin_client: Client, make_endpoint: MakeEndpoint, authority: Authority
) -> None:
    endpoint, pair = make_endpoint(url="https://example.com/"), authority.certificate("us.example")
    fields = {"mtls_certificate": pair.chain, "mtls_key": pair.key}
    change(admin_client, endpoint, url=endpoint.url, authentication="mtls", **fields)
    assert credentials_of(endpoint).to_send.certificate == pair
    page = admin_client.get(page_of(endpoint)).content.decode()
    assert "subject CN=us.example" in page
    assert "PRIVATE" not in page


def test_a_new_endpoint_may_have_them_at_once(admin_client: Client, subscriber: Subscriber) -> None:
    data = {**new_endpoint(subscriber), "headers": "x-a: 1"}
    url = reverse("admin:subscriptions_endpoint_add")
    page = admin_client.post(url, {**data, **BASIC, **formset([])}, follow=True)
    assert "sesame" not in page.content.decode()
    stored = credentials_of(Endpoint.objects.get())
    assert (stored.headers, stored.authentication.kind) == ({"x-a": "1"}, "basic")


def test_what_is_left_empty_stays(admin_client: Client, make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint(url="https://example.com/")
    change(admin_client, endpoint, url=endpoint.url, headers="x-a: 1", **BASIC)
    change(admin_client, endpoint, url=endpoint.url, description="new")
    assert credentials_of(endpoint).headers == {"x-a": "1"}
    change(admin_client, endpoint, url=endpoint.url, headers="x-b: 2")
    assert credentials_of(endpoint).headers == {"x-b": "2"}
    assert credentials_of(endpoint).authentication.kind == "basic"
    change(admin_client, endpoint, url=endpoint.url, remove_headers="on")
    assert credentials_of(endpoint).headers == {}
    change(admin_client, endpoint, url=endpoint.url, authentication="none")
    endpoint.refresh_from_db()
    assert (endpoint.credentials, endpoint.credentials_shown) == (None, None)


def test_they_do_not_move_to_another_host(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint(url="https://example.com/")
    change(admin_client, endpoint, url=endpoint.url, **BASIC)
    errors, _ = refused(admin_client, endpoint, url="https://example.net/")
    assert "another host" in errors["url"][0]
    change(admin_client, endpoint, url="https://example.net/", **BASIC, remove_headers="on")
    endpoint.refresh_from_db()
    assert endpoint.url == "https://example.net/"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"headers": "open sesame"}, "headers"),
        ({"headers": "x-a: open sesame\nx-a: 2"}, "headers"),
        ({"headers": "Webhook-Id: open sesame"}, "headers"),
        ({"headers": "Authorization: open sesame", **BASIC}, "headers"),
        ({**BASIC, "basic_user": "a:b"}, "basic_user"),
        ({**BASIC, "basic_password": ""}, "basic_password"),
        ({"authentication": "digest"}, "authentication"),
        ({"authentication": "bearer", "bearer_token": "open sesame"}, "bearer_token"),
        (
            {
                "authentication": "mtls",
                "mtls_certificate": "open sesame",
                "mtls_key": "open sesame",
            },
            "mtls_certificate",
        ),
    ],
)
def test_what_is_refused_is_not_shown_again(
    admin_client: Client, make_endpoint: MakeEndpoint, fields: dict[str, str], field: str
) -> None:
    endpoint = make_endpoint(url="https://example.com/")
    errors, page = refused(admin_client, endpoint, **fields)
    assert field in errors
    assert "sesame" not in page
    endpoint.refresh_from_db()
    assert endpoint.credentials is None


def test_without_its_key_only_all_of_it_is_set(
    admin_client: Client, make_endpoint: MakeEndpoint, configure: Configure
) -> None:
    endpoint = make_endpoint(url="https://example.com/")
    change(admin_client, endpoint, url=endpoint.url, headers="x-a: 1", **BASIC)
    configure(ENCRYPTION_KEYS=[Fernet.generate_key().decode()])
    errors, _ = refused(admin_client, endpoint, headers="x-b: 2")
    assert "put the key that encrypted it back" in str(errors)
    change(admin_client, endpoint, url=endpoint.url, headers="x-b: 2", **BASIC)
    assert credentials_of(endpoint).headers == {"x-b": "2"}


def test_who_may_only_look_has_no_inputs(client: Client, make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint(url="https://example.com/")
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_endpoint"))
    client.force_login(looker)
    page = client.get(page_of(endpoint)).content.decode()
    assert "kind none" in page
    assert "basic_password" not in page
