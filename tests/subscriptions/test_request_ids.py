import io
import json
import logging
import re

import pytest
from django.conf import LazySettings
from django.test import Client
from rest_framework.test import APIClient

from subscriptions.api.views import EventTypeViewSet, SubscriberViewSet
from subscriptions.models import ApiKey
from tests.api_client import api as api
from tests.api_client import client_of

pytestmark = pytest.mark.django_db

SUBSCRIBERS = "/api/v1/subscribers/"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the console's handler, as the settings have it, writes."""
    [console] = [one for one in logging.getLogger().handlers if type(one) is logging.StreamHandler]
    lines = io.StringIO()
    monkeypatch.setattr(console, "stream", lines)
    return lines


@pytest.mark.parametrize("given", ["a", "7f9c2ba4-e88f-11ee", "1-65a:b/c+d=e_f~g.h@i", "x" * 128])
def test_a_well_formed_request_id_is_taken_over(given: str) -> None:
    response = Client().get("/api/docs/", headers={"X-Request-ID": given})
    assert response.headers["X-Request-ID"] == given


@pytest.mark.parametrize(
    "given", [None, "", "x" * 129, "a b", "a\tb", "a\nb", 'a"b', "<a>", "a;b", "é", "a\0", "a\n"]
)
def test_any_other_is_replaced_by_one_of_our_own(given: str | None) -> None:
    headers = {} if given is None else {"X-Request-ID": given}
    made = {Client().get("/api/docs/", headers=headers).headers["X-Request-ID"] for _ in "ab"}
    assert len(made) == 2
    assert all(re.fullmatch("req_[0-9a-f]{32}", one) for one in made)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 302),
        ("/admin/", 302),
        ("/admin/login/", 200),
        ("/nowhere", 404),
        ("/static/nowhere.css", 404),
        ("/api/nowhere", 404),
        ("/api/schema/", 200),
        (SUBSCRIBERS, 401),
        (f"{SUBSCRIBERS}?{'a=&' * 1001}", 400),
    ],
)
def test_every_response_carries_one(path: str, status: int) -> None:
    response = Client().get(path, headers={"X-Request-ID": "mine"})
    assert (response.status_code, response.headers["X-Request-ID"]) == (status, "mine")


def test_a_static_file_comes_with_one(settings: LazySettings) -> None:
    settings.WHITENOISE_USE_FINDERS = settings.WHITENOISE_AUTOREFRESH = True
    response = Client().get("/static/admin/css/base.css")
    assert response.status_code == 200
    assert response.headers["X-Request-ID"]


def test_a_request_for_another_host_gets_one() -> None:
    response = Client(SERVER_NAME="elsewhere.example").get("/admin/")
    assert response.status_code == 400
    assert response.headers["X-Request-ID"]


def test_a_page_of_the_admin_gets_one(admin_client: Client) -> None:
    assert admin_client.get("/admin/").headers["X-Request-ID"]


def test_an_error_of_the_api_tells_its_request_id(api: APIClient) -> None:
    headers = {"X-Request-ID": "mine"}
    for response in (
        api.get(f"{SUBSCRIBERS}sub_{'0' * 32}/", headers=headers),
        api.post(SUBSCRIBERS, {"name": ""}, headers=headers),
        api.put(SUBSCRIBERS, headers=headers),
        api.get("/api/v1/nowhere/", headers=headers),
        api.get(f"{SUBSCRIBERS}?{'a=&' * 1001}", headers=headers),
        APIClient().get(SUBSCRIBERS, headers=headers),
    ):
        assert response.json()["request_id"] == "mine"


def test_so_does_a_fault_of_our_own_and_the_refusal_of_a_rate(
    monkeypatch: pytest.MonkeyPatch, api: APIClient
) -> None:
    monkeypatch.setattr(SubscriberViewSet, "list", lambda *_: 1 / 0)
    api.raise_request_exception = False
    fault = api.get(SUBSCRIBERS, headers={"X-Request-ID": "mine"})
    assert (fault.status_code, fault.json()["request_id"]) == (500, "mine")
    assert "division" not in fault.content.decode()

    limited = client_of(ApiKey(name="slow", rate="1/d"))
    limited.get("/api/v1/event-types/")
    refused = limited.get("/api/v1/event-types/", headers={"X-Request-ID": "mine"})
    assert (refused.status_code, refused.json()["request_id"]) == (429, "mine")
    assert refused.headers["X-Request-ID"] == "mine"


def test_the_log_lines_of_a_request_carry_its_id_and_others_none(
    monkeypatch: pytest.MonkeyPatch, api: APIClient, log: io.StringIO
) -> None:
    def list_and_log(*_: object) -> None:
        logging.getLogger("subscriptions").warning("within")
        raise ZeroDivisionError

    monkeypatch.setattr(EventTypeViewSet, "list", list_and_log)
    api.raise_request_exception = False
    api.get("/api/v1/event-types/", headers={"X-Request-ID": "mine"})
    api.get("/api/v1/nowhere/", headers={"X-Request-ID": "other"})
    logging.getLogger("subscriptions").warning("between")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    said = {
        (line["logger"], line["message"].split(":")[0], line.get("request_id")) for line in lines
    }
    assert said >= {
        ("subscriptions", "within", "mine"),
        ("django.request", "Internal Server Error", "mine"),
        ("django.request", "Not Found", "other"),
        ("subscriptions", "between", None),
    }
