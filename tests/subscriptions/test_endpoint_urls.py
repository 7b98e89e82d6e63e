"""No URL of the table in tests/webhooks/test_addresses.py becomes an endpoint, by whatever way."""

import json
import socket
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import RequestFactory
from rest_framework.test import APIClient

from subscriptions.models import Endpoint, Subscriber
from tests.api_client import api as api
from tests.conftest import Configure, MakeEndpoint
from tests.subscriptions.test_admin import formset
from tests.webhooks.test_addresses import ACCEPTED_URLS, REFUSED_URLS

pytestmark = pytest.mark.django_db

# Without these two, which neither JSON in UTF-8 nor a form can carry, or which say nothing.
TABLE = [(url, reason) for url, reason in REFUSED_URLS if url and "\ud800" not in url]


@pytest.fixture(autouse=True)
def strict(configure: Configure) -> None:
    configure(ALLOW_HTTP=False, ALLOWED_NETWORKS=[])


def test_the_api_refuses_each_with_the_reason(api: APIClient, subscriber: Subscriber) -> None:
    wrong = {}
    for url, reason in TABLE:
        answer = api.post("/api/v1/endpoints/", {"subscriber": subscriber.pk, "url": url})
        if answer.status_code != 400 or reason not in json.dumps(answer.json().get("url")):
            wrong[url] = answer.content
    assert wrong == {}
    assert not Endpoint.objects.exists()


def test_nor_does_an_endpoint_move_to_one(api: APIClient, make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint(url="https://example.com/")
    for url, reason in TABLE:
        answer = api.patch(f"/api/v1/endpoints/{endpoint.pk}/", {"url": url})
        assert (url, answer.status_code) == (url, 400)
        assert reason in json.dumps(answer.json()["url"])
    endpoint.refresh_from_db()
    assert endpoint.url == "https://example.com/"


def test_nobody_is_asked_for_a_name_that_is_registered(
    api: APIClient, subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: asked.append(host) or [])
    body = {"subscriber": subscriber.pk, "url": "https://hooks.example.com/"}
    assert api.post("/api/v1/endpoints/", body).status_code == 201
    assert not any("example.com" in str(host) for host in asked)


def test_the_api_takes_the_others(api: APIClient, subscriber: Subscriber) -> None:
    for url in ACCEPTED_URLS:
        answer = api.post("/api/v1/endpoints/", {"subscriber": subscriber.pk, "url": url})
        assert (answer.status_code, answer.json().get("url")) == (201, url)


def test_the_admin_s_form_refuses_each_with_the_reason(
    admin_user: User, subscriber: Subscriber, rf: RequestFactory
) -> None:
    request = rf.get("/")
    request.user = admin_user
    form = admin.site.get_model_admin(Endpoint).get_form(request)
    wrong = {}
    for url, reason in TABLE:
        data = {"subscriber": subscriber.pk, "url": url, "secret_kind": "hmac", **formset([])}
        faults = str(form(data).errors.get("url"))
        # A form drops what stands around a value, and has a word of its own for NUL.
        if url == url.strip() and reason not in faults and "Null characters" not in faults:
            wrong[url] = faults
    assert wrong == {}
