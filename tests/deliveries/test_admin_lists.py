"""The admin's long lists: page by page, counted as far as is quick, filtered by when and what."""

from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from deliveries.admin import dead_letters
from deliveries.lifecycle import FINAL
from deliveries.models import DeadLetter, Delivery
from subscriptions.admin import pages
from subscriptions.admin.base import AngariumAdmin
from tests.conftest import MakeEndpoint
from tests.deliveries.dashboard.conftest import MakePast
from tests.deliveries.dashboard.conftest import endpoint as endpoint
from tests.deliveries.dashboard.conftest import make_past as make_past
from tests.subscriptions.test_admin import listed

pytestmark = pytest.mark.django_db

DELIVERIES = reverse("admin:deliveries_delivery_changelist")
DEAD_LETTERS = reverse("admin:deliveries_deadletter_changelist")


@pytest.fixture
def seven(make_past: MakePast, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of seven deliveries, the newest first, of which a page has three."""
    monkeypatch.setattr(AngariumAdmin, "list_per_page", 3)
    return [make_past(ago=timedelta(minutes=minutes)).pk for minutes in range(1, 8)]


def walk(client: Client, url: str, direction: str) -> list[list[str]]:
    """The ids on each page, until there is none further in that direction."""
    found = []
    while True:
        changes = client.get(url).context["cl"]
        found.append([row.pk for row in changes.result_list])
        if not (further := getattr(changes, direction)):
            return found
        url = DELIVERIES + further


@pytest.mark.parametrize("query", ["", "?state=delivered"])
def test_pages_lead_from_the_newest_to_the_oldest_and_back(
    admin_client: Client, seven: list[str], query: str
) -> None:
    assert walk(admin_client, DELIVERIES + query, "older") == [seven[:3], seven[3:6], seven[6:]]
    last = f"{DELIVERIES}{query or '?'}&older_than={seven[5]}"
    assert walk(admin_client, last, "newer") == [seven[6:], seven[3:6], seven[:3]]


def test_pages_lead_on_in_a_list_that_begins_with_the_oldest(
    admin_client: Client, seven: list[str]
) -> None:
    oldest = seven[::-1]
    assert walk(admin_client, f"{DELIVERIES}?o=1", "newer") == [oldest[:3], oldest[3:6], oldest[6:]]


def test_of_many_that_match_pages_lead_on_as_well(
    admin_client: Client, seven: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "ROWS_COUNTED", 4)
    found = walk(admin_client, f"{DELIVERIES}?state=delivered", "older")
    assert found == [seven[:3], seven[3:6], seven[6:]]


def test_a_place_that_is_no_id_leads_to_the_list_without_it(admin_client: Client) -> None:
    response = admin_client.get(DELIVERIES, {"older_than": "yesterday"})
    assert (response.status_code, response.headers["Location"]) == (302, f"{DELIVERIES}?e=1")


def test_a_filter_begins_anew_at_the_newest(admin_client: Client, seven: list[str]) -> None:
    page = admin_client.get(DELIVERIES, {"older_than": seven[2]}).content.decode()
    assert 'href="?state=dead"' in page


@pytest.mark.parametrize(
    ("counted", "query", "said"),
    [
        (10_000, {}, "7 deliveries"),
        (7, {}, "more than 7 deliveries"),
        (4, {}, "about 7 deliveries"),
        (4, {"state": "delivered"}, "more than 4 deliveries"),
    ],
)
def test_a_list_says_how_many_there_are_as_far_as_is_known_without_counting_them_all(
    admin_client: Client,
    seven: list[str],
    monkeypatch: pytest.MonkeyPatch,
    counted: int,
    query: dict[str, str],
    said: str,
) -> None:
    monkeypatch.setattr(pages, "ROWS_COUNTED", counted)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE deliveries_delivery")
    page = admin_client.get(DELIVERIES, query).content.decode()
    assert f"<p>{said}</p>" in page


def test_what_was_made_between_two_moments_is_listed_and_the_filter_says_between_which(
    admin_client: Client, make_past: MakePast
) -> None:
    wanted = make_past(ago=timedelta(minutes=30))
    for minutes in (10, 50):
        make_past(ago=timedelta(minutes=minutes))
    now = timezone.now()
    start, end = now - timedelta(minutes=40), now - timedelta(minutes=20)
    asked = {"created": f"{start.isoformat()}/{end.isoformat()}"}
    assert listed(admin_client, DELIVERIES, **asked) == [wanted]
    page = admin_client.get(DELIVERIES, asked).content.decode()
    assert f"{start:%d %b %H:%M} to {end:%H:%M}" in page


@pytest.mark.parametrize("asked", ["yesterday", "2026-11-29T10:00/2026-11-29T11:00", "a/b", "/"])
def test_moments_that_are_none_filter_nothing(
    admin_client: Client, make_past: MakePast, asked: str
) -> None:
    delivery = make_past()
    assert listed(admin_client, DELIVERIES, created=asked) == [delivery]


def test_what_is_on_its_way_has_neither_ended_nor_failed(
    admin_client: Client, make_past: MakePast
) -> None:
    now = timezone.now()
    columns = {
        "sending": {"lease_expires_at": now},
        "waiting": {"next_attempt_at": now},
        "queued": {"ordering_key": "a", "ordinal": 1},
        "batched": {"lead": make_past("delivered")},
    }
    for state in Delivery.State.values:
        make_past(state, **columns.get(state, {}))
    found = listed(admin_client, DELIVERIES, state="on_its_way")
    assert {delivery.state for delivery in found} == set(Delivery.State.values) - FINAL - {
        "waiting"
    }


def test_dead_letters_are_found_by_their_error_among_the_newest(
    admin_client: Client,
    make_past: MakePast,
    make_endpoint: MakeEndpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dead_letters, "SEARCHED", 2)
    letters = [
        DeadLetter.objects.create(
            delivery=make_past("dead"), reason="gone", last_error=error, died_at=timezone.now()
        )
        for error in ("answered 404", "answered 404 Not Found", "timed out")
    ]
    assert listed(admin_client, DEAD_LETTERS, q="Answered 404") == [letters[1]]
    assert listed(admin_client, DEAD_LETTERS, q="invoice.paid") == letters[::-1]


def test_what_is_overdue_is_listed_by_for_how_long(
    admin_client: Client, make_past: MakePast
) -> None:
    def due(minutes: int) -> datetime:
        return timezone.now() + timedelta(minutes=minutes)

    waiting = make_past("waiting", next_attempt_at=due(-9))
    old = make_past("waiting", next_attempt_at=due(-1), ago=timedelta(days=2))
    pending = make_past("pending", rung_at=due(-5), ago=timedelta(minutes=5))
    make_past("waiting", next_attempt_at=due(1), ago=timedelta(days=1))
    make_past("delivered")
    found = listed(admin_client, DELIVERIES, state="overdue")
    assert found == [waiting, pending, old]


def test_what_was_delivered_or_died_is_listed_together(
    admin_client: Client, make_past: MakePast
) -> None:
    delivered, dead = make_past(ago=timedelta(minutes=1)), make_past("dead")
    for state in ("discarded", "held"):
        make_past(state)
    assert listed(admin_client, DELIVERIES, state="delivered_or_dead") == [dead, delivered]
