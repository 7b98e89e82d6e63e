"""What others wrote is shown as they wrote it, and does nothing."""

import json
from html.parser import HTMLParser

import pytest
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from deliveries.models import Attempt, DeadLetter, Delivery, Event
from subscriptions.authentication import BasicAuthentication
from subscriptions.hidden_characters import HIDDEN, refuse_hidden, shown
from subscriptions.models import ApiKey, Endpoint, EventType, Subscriber
from tests.api_client import api as api
from tests.api_client import faults
from tests.config.test_admin_permissions import pages, paths_of
from tests.conftest import MakeEndpoint
from tests.deliveries.conftest import MakeDelivery
from tests.deliveries.conftest import make_delivery as make_delivery
from tests.deliveries.test_operations import in_state
from tests.subscriptions.test_admin import act, page_of

pytestmark = pytest.mark.django_db

MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)></pre></textarea>{{ 7|add:7 }}"
LINK = "javascript:alert(document.domain)"
HOSTILE = f"{MARKUP} {LINK}"
TURNED = "exe\u202egnp.\u2066 \x1b[31m \x85 \ufeff"
TURNED_SHOWN = r"exe\u202egnp.\u2066 \x1b[31m \x85 \ufeff"
ENDPOINTS = "/admin/subscriptions/endpoint/"


class Page(HTMLParser):
    """What a page says, and what in it could run."""

    def __init__(self, answer: HttpResponse) -> None:
        super().__init__()
        self.said: list[str] = []
        self.could_run: list[str] = []
        self.feed(answer.content.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            self.said.append(value or "")
            if name.startswith("on") or (
                name in ("href", "src", "action", "formaction")
                and (value or "").strip().lower().startswith(("javascript:", "data:"))
            ):
                self.could_run.append(f"{tag} {name}={value}")
        # django-celery-beat has one of its own, with an id, which the policy keeps from running.
        inline = tag == "script" and not {"src", "id"} & dict(attrs).keys()
        if inline or ("src", "x") in attrs:
            self.could_run.append(tag)

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    def says(self, text: str) -> bool:
        return any(text in said for said in self.said)


@pytest.fixture
def hostile(make_endpoint: MakeEndpoint, make_delivery: MakeDelivery) -> Delivery:
    """Rows with hostile text in whatever column takes it."""
    delivery = in_state(make_delivery, "dead")
    endpoint, now = delivery.endpoint, timezone.now()
    # Past all validation, as in a database that somebody else has written to.
    Subscriber.objects.update(name=HOSTILE, external_id=HOSTILE)
    endpoint.set_credentials(
        authentication=BasicAuthentication(user=f"{MARKUP}{TURNED[:8]}", password="x")
    )
    endpoint.url, endpoint.description = f"https://a.example/{HOSTILE}", HOSTILE
    endpoint.disabled_reason = HOSTILE
    endpoint.save()
    EventType.objects.create(name="made.once", description=HOSTILE)
    ApiKey.objects.create_key(name=MARKUP[:50])
    payload = json.dumps({"note": f"{HOSTILE} {TURNED}"}, ensure_ascii=False)
    Event.objects.update(payload=payload, idempotency_key=HOSTILE)
    text = f"{HOSTILE} {TURNED}"
    Attempt.objects.create(
        delivery=delivery,
        number=1,
        outcome="rejected",
        duration_ms=1,
        error=text,
        response_body=text,
        ended_at=now,
    )
    DeadLetter.objects.update(last_error=text)
    return delivery


def test_no_page_of_the_admin_runs_any_of_it(admin_client: Client, hostile: Delivery) -> None:
    seen = 0
    for _, template, model in pages(admin.site.urls[0]):
        for path in paths_of(template, model):
            answer = admin_client.get(path)
            if answer.headers.get("Content-Type", "").startswith("text/html"):
                page = Page(answer)
                assert page.could_run == [], path
                seen += page.says(LINK) or page.says("<script>")
    assert seen > 15


@pytest.mark.parametrize(
    ("action", "confirmed"),
    [
        ("delete_for_good", {}),
        ("reveal_secret", {}),
        ("rotate_secret", {"confirmed": "yes"}),
        ("rotate_to_ed25519", {"confirmed": "yes"}),
    ],
)
def test_nor_does_a_page_that_an_action_leads_to(
    admin_client: Client, hostile: Delivery, action: str, confirmed: dict[str, str]
) -> None:
    chosen = {"action": action, "_selected_action": hostile.endpoint_id}
    answer = admin_client.post(ENDPOINTS, {**chosen, **confirmed})
    page = Page(answer)
    assert page.could_run == []
    assert page.says(LINK)


def test_nor_does_the_page_that_shows_a_new_api_key(admin_client: Client) -> None:
    asked = {"name": "<script>alert(1)</script>", "scopes": ["read"]}
    page = Page(admin_client.post("/admin/subscriptions/apikey/add/", asked))
    assert page.could_run == []
    assert page.says("<script>alert(1)</script>")


def test_it_is_shown_as_it_was_written(admin_client: Client, hostile: Delivery) -> None:
    for row in (hostile, hostile.dead_letters.get(), hostile.event, hostile.endpoint.subscriber):
        page = Page(admin_client.get(page_of(row)))
        assert page.says(LINK)
        assert page.says("{{ 7|add:7 }}")


def test_what_comes_from_outside_shows_its_hidden_characters(
    admin_client: Client, hostile: Delivery
) -> None:
    letter = hostile.dead_letters.get()
    for path in (
        page_of(hostile),
        page_of(letter),
        page_of(hostile.endpoint),
        "/admin/deliveries/deadletter/",
    ):
        answer = admin_client.get(path)
        assert not HIDDEN.search(answer.content.decode()), path
        assert Page(answer).says(r"exe\u202e"), path
    assert Page(admin_client.get(page_of(hostile))).says(TURNED_SHOWN)
    # A control character is escaped by JSON first.
    data = Page(admin_client.get(page_of(hostile.event)))
    assert data.says(r"exe\u202egnp.\u2066 \u001b[31m \x85 \ufeff")


def test_text_that_hides_nothing_is_left_as_it_is() -> None:
    text = "Kāshān\tکاشان می\u200cخواهم 👩\u200d🚀\r\n"
    assert shown(text) == text
    refuse_hidden(text)


@pytest.mark.parametrize("character", ["\0", "\x1b", "\x85", "\u200b", "\u202e", "\u2069"])
def test_a_name_or_a_description_that_hides_something_is_refused(
    api: APIClient, make_endpoint: MakeEndpoint, character: str
) -> None:
    text = f"Kash{character}an"
    endpoint = make_endpoint()
    for path, field in (
        (f"/api/v1/subscribers/{endpoint.subscriber_id}/", "name"),
        (f"/api/v1/subscribers/{endpoint.subscriber_id}/", "external_id"),
        (f"/api/v1/endpoints/{endpoint.pk}/", "description"),
    ):
        answer = api.patch(path, {field: text})
        assert (answer.status_code, faults(answer)) == (400, [field])
    answer = api.post("/api/v1/event-types/", {"name": "a.b", "description": text})
    assert (answer.status_code, faults(answer)) == (400, ["description"])
    with pytest.raises(ValidationError, match="Take out the character"):
        ApiKey(name=text, scopes=["read"]).clean_fields(exclude=["id", "prefix", "hashed_key"])


def test_the_api_has_no_pages(api: APIClient, hostile: Delivery) -> None:
    for path in ("deliveries", "dead-letters", "events", "endpoints", "history"):
        answer = api.get(f"/api/v1/{path}/", headers={"Accept": "text/html"})
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_what_can_be_taken_from_the_history_page_does_nothing(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint(description=HOSTILE)
    Endpoint.objects.filter(pk=endpoint.pk).update(description=f"{HOSTILE}2")
    for path in (
        page_of(endpoint).replace("/change/", "/history/"),
        "/admin/subscriptions/historyentry/",
    ):
        page = Page(admin_client.get(path))
        assert page.could_run == []
        assert page.says(LINK)


def test_a_search_is_given_back_as_text(admin_client: Client) -> None:
    page = Page(admin_client.get("/admin/deliveries/event/", {"q": HOSTILE}))
    assert page.could_run == []
    assert page.says(MARKUP)


def test_messages_after_an_action_are_text(admin_client: Client, hostile: Delivery) -> None:
    said = act(admin_client, ENDPOINTS, "pause", hostile.endpoint)
    assert "<script>alert" not in said
