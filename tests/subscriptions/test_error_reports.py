import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import OperationalError, connection
from rest_framework.test import APIClient

from subscriptions.error_reports import SecretFilter
from subscriptions.models import Endpoint, SigningSecret, Subscriber
from tests.api_client import api as api
from tests.conftest import Configure, MakeEndpoint
from tests.subscriptions.test_admin import ENDPOINTS as IN_ADMIN
from tests.subscriptions.test_admin import form_of, page_of
from webhooks.keys import generate_secret

pytestmark = pytest.mark.django_db

ENDPOINTS = "/api/v1/endpoints/"
CREDENTIALS = [
    {"headers": {"X-Tenant": "open-sesame"}},
    {"authentication": {"kind": "basic", "user": "us", "password": "open-sesame"}},
    {"authentication": {"kind": "bearer", "token": "open-sesame"}},
    {"authentication": {"kind": "header", "name": "X-Key", "value": "open-sesame"}},
]


def refuse(words: str) -> Callable[..., Any]:
    """Have the database fail at the statements that begin with some words."""

    def wrapper(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith(words):
            raise OperationalError("the server closed the connection unexpectedly")
        return execute(sql, *rest)

    return wrapper


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize(
    ("statement", "frame"),
    [
        ('SELECT "subscriptions_subscriber"', "to_internal_value"),
        ('INSERT INTO "subscriptions_endpoint"', "perform_create"),
        ('INSERT INTO "subscriptions_signingsecret"', "issue"),
    ],
)
def test_no_error_page_shows_the_secret_that_was_sent(
    api: APIClient,
    subscriber: Subscriber,
    settings: LazySettings,
    debug: bool,
    statement: str,
    frame: str,
) -> None:
    settings.DEBUG = debug
    api.raise_request_exception = False
    secret = str(generate_secret())
    body = {"subscriber": subscriber.pk, "url": "https://example.com/", "secret": secret}
    with connection.execute_wrapper(refuse(statement)):
        response = api.post(ENDPOINTS, body)
    page = response.content.decode()
    assert response.status_code == 500
    assert (frame in page) is debug
    assert secret not in page
    assert secret[6:40] not in page


def test_no_error_page_shows_a_secret_that_is_being_made(
    admin_client: Any, make_endpoint: MakeEndpoint, settings: LazySettings
) -> None:
    settings.DEBUG = True
    admin_client.raise_request_exception = False
    endpoint: Endpoint = make_endpoint()
    chosen = {"action": "rotate_secret", "_selected_action": endpoint.pk, "confirmed": "yes"}
    with connection.execute_wrapper(refuse('INSERT INTO "subscriptions_signingsecret"')):
        response = admin_client.post(IN_ADMIN, chosen)
    page = response.content.decode()
    assert response.status_code == 500
    assert "_rotate" in page
    assert "whsec_" not in page
    assert SigningSecret.objects.get().ciphertext not in page


def test_no_error_page_shows_a_password_that_stands_in_a_url(
    api: APIClient, subscriber: Subscriber, settings: LazySettings, configure: Configure
) -> None:
    settings.DEBUG = True
    settings.CELERY_BROKER_URL = "redis://:open-sesame@127.0.0.1:6379/0"
    configure(EGRESS_PROXY="http://us:open-sesame@proxy.example:3128")
    api.raise_request_exception = False
    body = {"subscriber": subscriber.pk, "url": "https://us:open-sesame@example.com/"}
    with connection.execute_wrapper(refuse('SELECT "subscriptions_subscriber"')):
        response = api.post(ENDPOINTS, body)
    page = response.content.decode()
    assert response.status_code == 500
    assert "@proxy.example:3128" in page
    assert "open-sesame" not in page


@pytest.mark.parametrize(
    "statement",
    [
        'SELECT "subscriptions_subscriber"',
        'INSERT INTO "subscriptions_endpoint"',
        'INSERT INTO "subscriptions_signingsecret"',
    ],
)
@pytest.mark.parametrize("credentials", CREDENTIALS, ids=str)
def test_no_error_page_shows_the_credentials_that_were_sent(
    api: APIClient,
    subscriber: Subscriber,
    settings: LazySettings,
    statement: str,
    credentials: dict[str, Any],
) -> None:
    settings.DEBUG = True
    api.raise_request_exception = False
    body = {"subscriber": subscriber.pk, "url": "https://example.com/", **credentials}
    with connection.execute_wrapper(refuse(statement)):
        response = api.post(ENDPOINTS, body)
    assert response.status_code == 500
    assert "open-sesame" not in response.content.decode()


@pytest.mark.parametrize(
    "credentials",
    [
        {"headers": "X-Tenant: open-sesame"},
        {"authentication": "basic", "basic_user": "us", "basic_password": "open-sesame"},
        {"authentication": "header", "header_name": "X-Key", "header_value": "open-sesame"},
    ],
    ids=str,
)
def test_nor_those_that_were_typed_into_the_admin(
    admin_client: Any,
    make_endpoint: MakeEndpoint,
    settings: LazySettings,
    credentials: dict[str, str],
) -> None:
    settings.DEBUG = True
    admin_client.raise_request_exception = False
    endpoint = make_endpoint(url="https://example.com/")
    form = {**form_of(endpoint), **credentials}
    with connection.execute_wrapper(refuse('UPDATE "subscriptions_endpoint"')):
        response = admin_client.post(page_of(endpoint), form)
    assert response.status_code == 500
    assert "open-sesame" not in response.content.decode()


def test_a_variable_that_contains_itself_is_shown_as_far_as_it_makes_sense() -> None:
    shop: dict[str, Any] = {"name": "bazaar", "token": "open-sesame"}
    shop["shops"] = [shop]
    variables = dict(SecretFilter().get_traceback_frame_variables(None, sys._getframe()))
    assert "bazaar" in str(variables["shop"])
    assert "open-sesame" not in str(variables["shop"])
