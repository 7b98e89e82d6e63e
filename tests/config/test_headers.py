"""What every answer says to browsers, whatever it is."""

import re

import pytest
from django.contrib import admin
from django.http import HttpResponse
from django.test import Client
from rest_framework.test import APIClient

from config.headers import NO_FEATURES
from deliveries.models import Event
from subscriptions.models import ApiKey, EventType
from tests.api_client import api as api
from tests.api_routes import ROUTES
from tests.config.test_admin_permissions import pages, paths_of
from tests.conftest import MakeEndpoint
from tests.deliveries.conftest import MakeDelivery
from tests.deliveries.conftest import make_delivery as make_delivery
from tests.deliveries.test_operations import in_state

pytestmark = pytest.mark.django_db

OTHERS = ["/", "/nowhere", "/api/v1/nowhere", "/api/docs/", "/api/docs/?script=", "/api/schema/"]


def assert_careful(answer: HttpResponse, path: str) -> None:
    headers = answer.headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    assert headers["X-Frame-Options"] == "DENY", path
    assert headers["X-Content-Type-Options"] == "nosniff", path
    assert headers["Referrer-Policy"] == "same-origin", path
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin", path
    assert headers["Permissions-Policy"] == NO_FEATURES, path
    assert "no-store" in headers["Cache-Control"], path
    assert headers["X-Request-ID"], path


@pytest.fixture
def rows(make_endpoint: MakeEndpoint, make_delivery: MakeDelivery) -> None:
    in_state(make_delivery, "dead")
    EventType.objects.create(name="made.once")
    ApiKey.objects.create_key(name="billing")


@pytest.mark.usefixtures("rows")
def test_of_the_admin(admin_client: Client) -> None:
    for client in (Client(), admin_client):
        for name, template, model in pages(admin.site.urls[0]):
            for path in paths_of(template, model):
                assert_careful(client.get(path), path)
                if name != "logout":
                    assert_careful(client.post(path), path)


@pytest.mark.usefixtures("rows")
def test_of_the_api(api: APIClient) -> None:
    statuses = set()
    for client in (APIClient(), api):
        for route in ROUTES:
            for key in ("x", Event.objects.values_list("pk", flat=True)[0]):
                answer = getattr(client, route.method)(route.path(key))
                assert_careful(answer, str(route))
                kind = answer.headers.get("Content-Type", "application/json")
                # What has no end that is known beforehand is lines of it.
                is_stream = answer.streaming and kind == "application/x-ndjson"
                assert kind == "application/json" or is_stream
                statuses.add(answer.status_code)
    assert {200, 400, 401, 404} <= statuses


@pytest.mark.parametrize("path", OTHERS)
def test_of_whatever_else_there_is(path: str) -> None:
    assert_careful(Client().get(path), path)


def test_of_a_request_that_is_no_proper_one() -> None:
    answer = Client().get("/admin/", headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert_careful(answer, "/admin/")


def test_of_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin.site, "login_template", "missing.html")
    answer = Client(raise_request_exception=False).get("/admin/login/")
    assert answer.status_code == 500
    assert_careful(answer, "/admin/login/")


@pytest.mark.usefixtures("rows")
def test_no_page_of_the_admin_has_a_script_or_a_style_inside(admin_client: Client) -> None:
    for _, template, model in pages(admin.site.urls[0]):
        for path in paths_of(template, model):
            answer = admin_client.get(path)
            if answer.headers.get("Content-Type", "").startswith("text/html"):
                page = answer.content.decode()
                assert not re.search(r"<style|\sstyle=|\son\w+=|href=\"javascript:", page), path
                assert page.count("<script") == page.count("<script src=") + page.count(
                    '<script id="'
                ), path
