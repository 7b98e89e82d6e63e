"""What holds on every page: who gets in, what is seen of others, and what a form has to show."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver
from django.utils import timezone

from deliveries.models import DeadLetter, Delivery, Replay
from deliveries.portal import urls
from subscriptions.models import (
    ApiKey,
    Endpoint,
    EventType,
    HistoryEntry,
    Subscriber,
    Subscription,
)
from tests.api_client import client_of
from tests.deliveries.api.test_tenancy import Tenant, everything_of, move_in
from tests.deliveries.portal.conftest import Visitor

pytestmark = pytest.mark.django_db

OPEN = {"enter", "left", "theme"}
"""The pages that need no session."""
LISTS = {"index", "endpoints", "add", "deliveries", "dead_letters", "replays", "event_types"}
"""The pages that are of no one row."""
CHANGES = {
    *("pause", "resume", "verify", "close_circuit", "reveal", "rotate", "expire", "unsubscribe"),
    *("retry", "replay", "redrive", "leave"),
    *("pause_replay", "resume_replay", "cancel_replay"),
}
"""The addresses that take POST alone."""
OF = {
    "endpoints": Endpoint,
    "subscriptions": Subscription,
    "deliveries": Delivery,
    "replays": Replay,
}


def walk(patterns: list[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for one in patterns:
        path = prefix + str(one.pattern)
        if isinstance(one, URLResolver):
            yield from walk(one.url_patterns, path)
        elif isinstance(one, URLPattern):
            yield str(one.name), path


PAGES = dict(walk(urls.urlpatterns))
OF_ROWS = {name: path for name, path in PAGES.items() if "<" in path and name != "event_type"}


@pytest.fixture
def ours() -> Tenant:
    return move_in("abbas")


@pytest.fixture
def theirs() -> Tenant:
    return move_in("croesus")


def path_to(name: str, tenant: Tenant) -> str:
    kind = PAGES[name].partition("/")[0]
    return PAGES[name].replace("<str:key>", tenant[OF[kind]])


def test_the_walk_finds_the_pages() -> None:
    assert len(PAGES) > 20
    assert set(PAGES) >= OPEN | LISTS | CHANGES
    assert {path.partition("/")[0] for path in OF_ROWS.values()} == set(OF)


@pytest.mark.parametrize("name", sorted(set(PAGES) - OPEN))
def test_without_a_session_no_page_shows_or_does_anything(name: str, ours: Tenant) -> None:
    path = path_to(name, ours) if name in OF_ROWS else PAGES[name].replace("<str:key>", "a.b")
    before = everything_of(ours)
    for answer in (Client().get(f"/portal/{path}"), Client().post(f"/portal/{path}")):
        assert answer.status_code == 403
        assert "You are not in" in answer.content.decode()
        assert not any(mark in answer.content.decode() for mark in ours.marks())
    assert everything_of(ours) == before


@pytest.mark.parametrize("name", sorted(OF_ROWS))
def test_what_is_another_s_is_not_there(name: str, ours: Tenant, theirs: Tenant) -> None:
    visitor = Visitor(ours.rows[Subscriber])
    before = everything_of(theirs)
    path = path_to(name, theirs)
    answers = [visitor.post(path)] if name in CHANGES else [visitor.get(path), visitor.post(path)]
    for answer in answers:
        assert answer.status_code == 404
        page = answer.content.decode()
        assert [mark for mark in theirs.marks() if mark in page] == []
    assert everything_of(theirs) == before


@pytest.mark.parametrize("name", sorted(OF_ROWS))
@pytest.mark.parametrize("key", ["x", "evt_" + "0" * 32, "ep_" + "0" * 32, "%00", "é"])
def test_what_is_nobody_s_is_not_there_either(ours: Tenant, name: str, key: str) -> None:
    visitor = Visitor(ours.rows[Subscriber])
    path = PAGES[name].replace("<str:key>", key)
    assert visitor.post(path).status_code == 404


@pytest.mark.parametrize("name", sorted((set(OF_ROWS) | LISTS) - CHANGES - {"index"}))
def test_what_is_one_s_own_is_there_and_shows_nothing_of_another_s(
    name: str, ours: Tenant, theirs: Tenant
) -> None:
    EventType.objects.create(name="croesus.secret", feature_flag="croesus-beta")
    visitor = Visitor(ours.rows[Subscriber])
    path = path_to(name, ours) if name in OF_ROWS else PAGES[name]
    page = visitor.says(path)
    assert [mark for mark in theirs.marks() if mark in page] == []
    assert "abbas" in page
    assert visitor.says(path, endpoint=theirs[Endpoint], before=theirs[Delivery], type="croesus.x")


def test_an_event_type_for_those_with_a_flag_is_not_there_for_others(visitor: Visitor) -> None:
    EventType.objects.create(name="trial.made", feature_flag="trial")
    EventType.objects.create(name="old.made", archived=True)
    for path in ("event-types/trial.made/", "event-types/old.made/", "event-types/%00/"):
        assert visitor.get(path).status_code == 404
    Subscriber.objects.update(feature_flags=["trial"])
    assert "trial.made" in visitor.says("event-types/trial.made/")


def test_another_s_dead_letters_are_not_redriven(ours: Tenant, theirs: Tenant) -> None:
    visitor = Visitor(ours.rows[Subscriber])
    before = everything_of(theirs)
    for letters in ([theirs[DeadLetter]], [theirs[DeadLetter], ours[DeadLetter]], ["x"]):
        answer = visitor.post("dead-letters/redrive/", letter=letters)
        assert answer.headers["Location"].endswith("?done=not-redriven")
    assert everything_of(theirs) == before


@pytest.mark.parametrize("name", sorted(set(PAGES) - OPEN))
def test_a_form_without_the_session_s_token_changes_nothing(
    name: str, ours: Tenant, theirs: Tenant
) -> None:
    visitor, other = Visitor(ours.rows[Subscriber]), Visitor(theirs.rows[Subscriber])
    path = path_to(name, ours) if name in OF_ROWS else PAGES[name].replace("<str:key>", "a.b")
    before = everything_of(ours)
    for token in ("", "x", visitor.session.pk, other.token()):
        answer = visitor.client.post(f"/portal/{path}", {"token": token})
        assert answer.status_code == 403
        assert "not of this visit" in answer.content.decode()
    assert everything_of(ours) == before


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_nothing_is_changed_by_a_get(name: str, ours: Tenant) -> None:
    visitor = Visitor(ours.rows[Subscriber])
    path = path_to(name, ours) if name in OF_ROWS else PAGES[name]
    before = everything_of(ours)
    assert visitor.get(path).status_code == 405
    assert everything_of(ours) == before


def test_what_a_visitor_does_is_in_the_history_as_the_portal_s_and_told_to_the_subscriber(
    ours: Tenant,
) -> None:
    key = client_of(ApiKey(name="its own", subscriber=ours.rows[Subscriber]))
    from_now = timezone.now()
    visitor = Visitor(ours.rows[Subscriber])
    endpoint = ours[Endpoint]
    for path in (f"endpoints/{endpoint}/pause/", f"endpoints/{endpoint}/secret/reveal/"):
        visitor.post(path)
    visitor.post(f"deliveries/{ours[Delivery]}/retry/")
    entries = HistoryEntry.objects.filter(at__gte=from_now)
    assert {entry.action for entry in entries} == {"changed", "revealed", "redriven"}
    for entry in entries:
        assert (entry.actor_kind, entry.actor_id) == ("portal", ours[Subscriber])
        assert (entry.actor, entry.ip_address) == ("abbas (portal)", "127.0.0.1")
    told = key.get("/api/v1/history/", {"actor_kind": "portal"}).json()["results"]
    assert len(told) == len(entries)
    assert {entry["actor"]["name"] for entry in told} == {"abbas"}
