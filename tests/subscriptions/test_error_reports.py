from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import OperationalError, connection
from rest_framework.test import APIClient

from subscriptions.models import Endpoint, SigningSecret, Subscriber
from tests.api_client import api as api
from tests.conftest import Configure, MakeEndpoint
from tests.subscriptions.test_admin import ENDPOINTS as IN_ADMIN
from webhooks.keys import generate_secret

pytestmark = pytest.mark.django_db

ENDPOINTS = "/api/v1/endpoints/"


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
    chosen = {"action": "rotate_secret", "_selected_action": endpoint.pk}
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
