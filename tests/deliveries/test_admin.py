import json
import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from deliveries.admin.events import DELIVERIES_SHOWN
from deliveries.emit import emit
from deliveries.models import Attempt, DeadLetter, Delivery, Event
from subscriptions import encryption
from subscriptions.admin.pages import ROWS_COUNTED, about
from subscriptions.models import (
    ApiKey,
    Endpoint,
    EventType,
    Feed,
    SigningSecret,
    Subscriber,
)
from tests.conftest import MakeEndpoint
from tests.deliveries.conftest import MakeDelivery, states
from tests.deliveries.test_operations import ALL_STATES, in_state
from tests.receiver import Answer, Receiver
from tests.subscriptions.test_admin import GARBAGE, act, ask, confirm, listed, page_of

pytestmark = pytest.mark.django_db

EVENTS, DELIVERIES, DEAD_LETTERS, ENDPOINTS = (
    reverse(f"admin:{name}_changelist")
    for name in (
        "deliveries_event",
        "deliveries_delivery",
        "deliveries_deadletter",
        "subscriptions_endpoint",
    )
)
DEAD = f"{DELIVERIES}?state=dead"
DISCARDABLE = ["pending", "waiting", "held", "dead"]
HOSTILE = "<script>alert('boo')</script>"


def attempt(delivery: Delivery, number: int = 1, **fields: object) -> Attempt:
    values = {"outcome": "rejected", "status": 503, "duration_ms": 12, "ended_at": timezone.now()}
    return Attempt.objects.create(delivery=delivery, number=number, **{**values, **fields})


@pytest.fixture
def dead(make_delivery: MakeDelivery) -> Delivery:
    return in_state(make_delivery, "dead")


@pytest.mark.parametrize("url", [EVENTS, DELIVERIES, DEAD_LETTERS])
@pytest.mark.parametrize("term", GARBAGE)
def test_a_search_for_garbage_finds_nothing(
    admin_client: Client, dead: Delivery, url: str, term: str
) -> None:
    response = admin_client.get(url, {"q": term})
    assert response.status_code == 200
    assert list(response.context["cl"].result_list) == []


@pytest.mark.parametrize("url", [EVENTS, DELIVERIES, DEAD_LETTERS])
def test_what_belongs_together_is_found_by_each_others_id(
    admin_client: Client, make_delivery: MakeDelivery, url: str
) -> None:
    dead, _ = in_state(make_delivery, "dead"), in_state(make_delivery, "dead")
    letter = dead.dead_letters.get()
    own: dict[str, Model] = {EVENTS: dead.event, DELIVERIES: dead, DEAD_LETTERS: letter}
    ids = [str(own[url].pk), dead.pk, dead.event_id]
    if url != EVENTS:
        ids.append(dead.endpoint_id)
    for row_id in ids:
        assert listed(admin_client, url, q=row_id) == [own[url]]


@pytest.mark.parametrize("term", ["order.shipped", "the-key"])
def test_events_and_deliveries_are_found_by_type_and_idempotency_key(
    admin_client: Client, make_endpoint: MakeEndpoint, term: str
) -> None:
    make_endpoint("*")
    event = emit("order.shipped", {}, idempotency_key="the-key")
    emit("order.paid", {})
    assert listed(admin_client, EVENTS, q=term) == [event]
    assert listed(admin_client, DELIVERIES, q=term) == [event.deliveries.get()]


def test_an_event_says_how_its_deliveries_fare_in_the_lists_own_query(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    for _ in range(4):
        make_endpoint("*")
    event, now = emit("order.paid", {}), timezone.now()
    first, second, *_ = event.deliveries.values_list("pk", flat=True)
    Delivery.objects.filter(pk=first).update(state="delivered", ended_at=now)
    Delivery.objects.filter(pk=second).update(state="dead", ended_at=now)
    with CaptureQueriesContext(connection) as captured:
        page = admin_client.get(EVENTS).content.decode()
    counts = r'class="[^"]*field-(?:all_deliveries|delivered|under_way|dead) [^>]*>.*?(\d)<'
    assert re.findall(counts, page) == ["4", "1", "2", "1"]
    assert len([q for q in captured if "deliveries_delivery" in q["sql"]]) == 1


def test_an_events_page_shows_its_data_escaped_and_its_deliveries(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint("*")
    event = emit("order.paid", {"note": HOSTILE, "city": "Kāshān"})
    page = admin_client.get(page_of(event)).content.decode()
    assert HOSTILE not in page
    assert '<dt>note</dt><dd><code class="str">&quot;&lt;script&gt;' in page
    assert "Kāshān" in page
    assert endpoint.url in page
    assert page_of(event.deliveries.get()) in page


def test_the_page_of_an_event_with_many_deliveries_shows_the_newest(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    for _ in range(DELIVERIES_SHOWN + 1):
        make_endpoint("*")
    event = emit("order.paid", {})
    page = admin_client.get(page_of(event)).content.decode()
    newest = event.deliveries.order_by("-pk")[:DELIVERIES_SHOWN]
    links = set(re.findall(r"/admin/deliveries/delivery/\w+/change/", page))
    assert links == {page_of(delivery) for delivery in newest}
    assert f"{DELIVERIES}?q={event.pk}" in page


def test_a_deliverys_page_shows_each_attempt_escaped_and_its_dead_letters(
    admin_client: Client, dead: Delivery
) -> None:
    attempt(dead, error=HOSTILE, response_body=f"{HOSTILE}\n  Try later.")
    DeadLetter.objects.update(last_error=HOSTILE)
    page = admin_client.get(page_of(dead)).content.decode()
    assert HOSTILE not in page
    assert "<pre" in page
    assert "\n  Try later.</pre>" in page
    for words in ("rejected", "503", "12 ms", "exhausted"):
        assert words in page.lower()


def test_the_list_of_deliveries_says_what_came_of_the_last_attempt(
    admin_client: Client, make_delivery: MakeDelivery
) -> None:
    delivery = in_state(make_delivery, "waiting")
    attempt(delivery, 1)
    attempt(delivery, 2, outcome="timed_out", status=None)
    page = admin_client.get(DELIVERIES).content.decode()
    assert re.search(r'<td class="field-last_outcome [^>]*>timed out</td>', page)


@pytest.mark.parametrize("state", ALL_STATES)
def test_deliveries_are_told_apart_by_state(
    admin_client: Client, make_delivery: MakeDelivery, state: str
) -> None:
    made = {name: in_state(make_delivery, name) for name in ALL_STATES}
    assert listed(admin_client, DELIVERIES, state__exact=state) == [made[state]]
    page = admin_client.get(DELIVERIES).content.decode()
    assert re.search(f'<span class="mark [a-z]+">{state}</span>', page)


def test_deliveries_are_told_apart_by_when_they_were_made(
    admin_client: Client, make_delivery: MakeDelivery
) -> None:
    old, new = make_delivery(), make_delivery()
    two_hours = 2 * 3600 * 1000
    stamp = f"{int(old.pk[4:16], 16) - two_hours:012x}"
    moved = f"{stamp}{old.pk[16:]}"
    with connection.cursor() as cursor:
        cursor.execute("UPDATE deliveries_delivery SET id = %s WHERE id = %s", [moved, old.pk[4:]])
    assert listed(admin_client, DELIVERIES, created="hour") == [new]
    assert len(listed(admin_client, DELIVERIES, created="day")) == 2


def test_deliveries_are_told_apart_by_their_endpoints_subscriber(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    other = Subscriber.objects.create(name="Khadija")
    endpoint, _ = make_endpoint("*", owner=other), make_endpoint("*")
    emit("order.paid", {})
    delivery = Delivery.objects.get(endpoint=endpoint)
    assert listed(admin_client, DELIVERIES, subscriber=other.pk) == [delivery]
    assert listed(admin_client, DELIVERIES, q=other.pk) == [delivery]


@pytest.mark.parametrize(
    ("url", "table"), [(EVENTS, "deliveries_event"), (DELIVERIES, "deliveries_delivery")]
)
def test_a_long_history_is_neither_counted_to_its_end_nor_sorted_without_an_index(
    admin_client: Client, dead: Delivery, url: str, table: str
) -> None:
    with CaptureQueriesContext(connection) as captured:
        assert listed(admin_client, url, o="4") != []
    statements = [query["sql"] for query in captured if f'FROM "{table}"' in query["sql"]]
    count, rows = (statement for statement in statements if "LIMIT 21" not in statement)
    assert count == (
        f'SELECT COUNT(*) FROM (SELECT "{table}"."id" AS "pk" FROM "{table}" '
        f"LIMIT {ROWS_COUNTED}) subquery"
    )
    assert rows.endswith(f'ORDER BY "{table}"."id" DESC LIMIT 51')


@pytest.mark.parametrize(
    ("action", "done", "changed"),
    [
        ("retry_now", "retried now", {"waiting": "waiting"}),
        ("redrive", "redriven", {"dead": "pending"}),
        ("replay", "replayed", dict.fromkeys(["delivered", "dead", "discarded"], "pending")),
        (
            "discard",
            "discarded",
            dict.fromkeys(["pending", "waiting", "held", "dead"], "discarded"),
        ),
    ],
)
def test_an_action_says_how_many_of_the_chosen_deliveries_it_changed(
    admin_client: Client,
    make_delivery: MakeDelivery,
    action: str,
    done: str,
    changed: dict[str, str],
) -> None:
    made = {name: in_state(make_delivery, name) for name in ALL_STATES}
    page = act(admin_client, DELIVERIES, action, *made.values())
    assert f"{len(changed)} of 7 deliveries {done}" in page
    assert states() == {made[name].pk: changed.get(name, name) for name in ALL_STATES}


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        ("retry_now", "1 of 7 deliveries chosen will be retried now. The others stay"),
        ("redrive", "1 of 7 deliveries chosen will be redriven. The others stay as they are."),
        ("replay", "3 of 7 deliveries chosen will be replayed."),
        ("discard", "4 of 7 deliveries chosen will be discarded."),
    ],
)
def test_an_action_asks_first_and_says_how_many_it_would_touch(
    admin_client: Client, make_delivery: MakeDelivery, action: str, sentence: str
) -> None:
    made = {name: in_state(make_delivery, name) for name in ALL_STATES}
    assert sentence in ask(admin_client, DELIVERIES, action, *made.values())
    assert states() == {made[name].pk: name for name in ALL_STATES}
    page = ask(admin_client, DELIVERIES, action, made["sending"])
    assert "None of 1 delivery chosen can be" in page
    assert 'name="confirmed"' not in page


def test_what_is_asked_of_all_is_done_to_all_that_the_filter_leaves(
    admin_client: Client, make_delivery: MakeDelivery
) -> None:
    for state in ("dead", "dead", "delivered"):
        in_state(make_delivery, state)
    page = ask(admin_client, DEAD, "redrive", Delivery.objects.first(), select_across="1")
    assert "2 deliveries will be redriven." in page
    assert "These are the first" not in page
    assert "2 of 2 deliveries redriven" in confirm(admin_client, DEAD, page)
    assert sorted(states().values()) == ["delivered", "pending", "pending"]


def test_what_came_since_it_was_asked_of_all_is_left_alone(
    admin_client: Client, make_delivery: MakeDelivery
) -> None:
    asked, gone = in_state(make_delivery, "dead"), in_state(make_delivery, "dead")
    older = in_state(make_delivery, "waiting")
    page = ask(admin_client, DEAD, "redrive", asked, select_across="1")
    newer = in_state(make_delivery, "dead")
    now = timezone.now()
    Delivery.objects.filter(pk=older.pk).update(state="dead", ended_at=now)
    Delivery.objects.filter(pk=gone.pk).update(state="discarded", ended_at=now)
    assert "1 of 2 deliveries redriven" in confirm(admin_client, DEAD, page)
    assert states() == {
        asked.pk: "pending",
        gone.pk: "discarded",
        older.pk: "dead",
        newer.pk: "dead",
    }


def test_of_more_than_are_taken_at_a_time_the_first_are_asked_for_and_it_is_said_how_many_there_are(
    admin_client: Client, make_delivery: MakeDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subscriptions.admin.pages.ROWS_COUNTED", 2)
    oldest, *newer = [in_state(make_delivery, "dead") for _ in range(4)]
    page = ask(admin_client, DEAD, "redrive", oldest, select_across="1")
    assert "2 deliveries will be redriven." in page
    assert re.search(r"These are the first 2 of (about|more than) \d+ that the list finds", page)
    assert "2 of 2 deliveries redriven" in confirm(admin_client, DEAD, page)
    assert {pk for pk, state in states().items() if state == "dead"} == {oldest.pk, newer[0].pk}


def test_how_many_there_are_beyond_what_is_counted_is_what_the_planner_makes_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = Delivery.objects.filter(state="dead")
    assert about(found) == f"more than {ROWS_COUNTED:,}"
    monkeypatch.setattr("subscriptions.admin.pages.ROWS_COUNTED", 0)
    assert re.fullmatch(r"about \d+", about(found))
    assert about(Delivery.objects.filter(pk__in=found.values("pk")[:1])) == "more than 0"


def test_of_more_that_are_overdue_than_are_taken_at_a_time_it_is_said_that_there_are_more(
    admin_client: Client, make_delivery: MakeDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subscriptions.admin.pages.ROWS_COUNTED", 2)
    late = [make_delivery(rung_at=timezone.now() - timedelta(hours=hour)) for hour in range(1, 4)]
    overdue = f"{DELIVERIES}?state=overdue"
    page = ask(admin_client, overdue, "discard", late[0], select_across="1")
    assert "These are the first 2 of more than 2 that the list finds." in page
    assert "2 of 2 deliveries discarded" in confirm(admin_client, overdue, page)
    assert [pk for pk, state in states().items() if state == "pending"] == [late[0].pk]


def test_an_export_of_all_has_all_that_the_filter_finds(
    admin_client: Client, make_delivery: MakeDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subscriptions.admin.pages.ROWS_COUNTED", 1)
    letters = [in_state(make_delivery, "dead").dead_letters.get() for _ in range(3)]
    data = {"action": "export_json_lines", "_selected_action": letters[0].pk, "select_across": "1"}
    answer = admin_client.post(f"{DEAD_LETTERS}?resolution=open", data)
    lines = answer.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [json.loads(line)["id"] for line in lines] == [letter.pk for letter in letters]


def test_nothing_is_done_to_all_of_which_nobody_was_shown_how_many_they_are(
    admin_client: Client, dead: Delivery
) -> None:
    page = act(admin_client, DEAD, "redrive", dead, select_across="1")
    assert "1 delivery will be redriven." in page
    assert states() == {dead.pk: "dead"}


@pytest.mark.parametrize(
    ("action", "done", "after"),
    [("redrive", "redriven", "pending"), ("discard", "discarded", "discarded")],
)
def test_a_dead_letter_is_resolved_once(
    admin_client: Client, dead: Delivery, action: str, done: str, after: str
) -> None:
    letter = dead.dead_letters.get()
    assert f"1 of 1 dead letter {done}" in act(admin_client, DEAD_LETTERS, action, letter)
    assert states() == {dead.pk: after}
    assert f"0 of 1 dead letter {done}" in act(admin_client, DEAD_LETTERS, action, letter)


def test_a_resolved_dead_letter_does_not_resolve_its_successor(
    admin_client: Client, dead: Delivery
) -> None:
    now = timezone.now()
    resolved = DeadLetter.objects.create(
        delivery=dead, reason="gone", died_at=now, resolution="redriven", resolved_at=now
    )
    act(admin_client, DEAD_LETTERS, "redrive", resolved)
    assert states() == {dead.pk: "dead"}


@pytest.mark.parametrize(("choice", "found"), [("open", ["exhausted"]), ("resolved", ["gone"])])
def test_dead_letters_are_told_apart_by_whether_they_are_open(
    admin_client: Client, dead: Delivery, choice: str, found: list[str]
) -> None:
    now = timezone.now()
    DeadLetter.objects.create(
        delivery=dead, reason="gone", died_at=now, resolution="dropped", resolved_at=now
    )
    letters = listed(admin_client, DEAD_LETTERS, resolution=choice)
    assert [letter.reason for letter in letters] == found  # type: ignore[attr-defined]


@pytest.mark.parametrize("by", ["subscriber", "reason", "search", "resolution"])
def test_dead_letters_are_found_by_what_they_have_in_common(
    admin_client: Client, dead: Delivery, by: str
) -> None:
    stranger = Subscriber.objects.create(name="Croesus")
    letter = dead.dead_letters.get()
    query = {
        "subscriber": {"subscriber": letter.subscriber_id},
        "reason": {"reason__exact": "exhausted"},
        "search": {"q": "made.once"},
        "resolution": {"resolution": "open"},
    }
    other = {
        "subscriber": {"subscriber": stranger.pk},
        "reason": {"reason__exact": "gone"},
        "search": {"q": "made.twice"},
        "resolution": {"resolution": "recovered"},
    }
    assert listed(admin_client, DEAD_LETTERS, **query[by]) == [letter]
    assert listed(admin_client, DEAD_LETTERS, **other[by]) == []


@pytest.mark.parametrize(
    ("action", "name"),
    [("export_csv", "dead-letters.csv"), ("export_json_lines", "dead-letters.ndjson")],
)
def test_dead_letters_are_exported(
    admin_client: Client, dead: Delivery, action: str, name: str
) -> None:
    letter = dead.dead_letters.get()
    chosen = {"action": action, "_selected_action": [letter.pk]}
    response = admin_client.post(DEAD_LETTERS, chosen)
    assert name in response.headers["Content-Disposition"]
    text = b"".join(response.streaming_content).decode()  # type: ignore[attr-defined]
    assert letter.pk in text
    assert dead.endpoint.url in text


def page_of_test(endpoint: Endpoint) -> str:
    return reverse("admin:subscriptions_endpoint_test", args=[quote(endpoint.pk)])


def test_a_test_event_is_shown_beside_its_answer_escaped(
    admin_client: Client, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    receiver.answers["/hook"] = lambda *_: Answer(500, HOSTILE.encode(), {"X-Hint": HOSTILE})
    endpoint = make_endpoint(url=receiver.url())
    endpoint.set_credentials(headers={"X-Tenant": "isfahan"})
    endpoint.save()
    url = page_of_test(endpoint)
    assert url in admin_client.get(page_of(endpoint)).content.decode()
    assert admin_client.get(url).status_code == 200
    assert receiver.received == []
    page = admin_client.post(url).content.decode()
    [request] = receiver.received
    assert HOSTILE not in page
    assert "isfahan" not in page
    assert page.count(escape(HOSTILE)) == 2
    assert request.id in page
    assert escape(request.body.decode()) in page
    assert "answered 500 Internal Server Error" in page


def test_why_no_test_event_is_sent_is_said(
    admin_client: Client, make_endpoint: MakeEndpoint, subscriber: Subscriber
) -> None:
    endpoint = make_endpoint()
    endpoint.require_handshake()
    page = admin_client.post(page_of_test(endpoint)).content.decode()
    assert "has not answered its challenge" in page
    feed = Feed.objects.open(subscriber)
    assert admin_client.get(page_of_test(feed)).status_code == 404
    assert page_of_test(feed) not in admin_client.get(page_of(feed)).content.decode()
    endpoint.delete_for_good()
    assert admin_client.post(page_of_test(endpoint)).status_code == 403
    for unknown in ("nonsense", "ep_" + "0" * 32):
        url = reverse("admin:subscriptions_endpoint_test", args=[unknown])
        assert admin_client.post(url).status_code == 404


@pytest.mark.parametrize(
    ("permission", "status"), [("view_endpoint", 403), ("change_endpoint", 200)]
)
def test_a_test_event_takes_the_permission_to_change_the_endpoint(
    client: Client,
    make_endpoint: MakeEndpoint,
    receiver: Receiver,
    permission: str,
    status: int,
) -> None:
    endpoint = make_endpoint(url=receiver.url())
    user = User.objects.create_user("clerk", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_endpoint", permission]))
    client.force_login(user)
    for method in (client.get, client.post):
        assert method(page_of_test(endpoint)).status_code == status
    assert len(receiver.received) == (status == 200)
    shown = client.get(page_of(endpoint)).content.decode()
    assert (page_of_test(endpoint) in shown) == (status == 200)


def test_an_endpoint_leads_to_its_deliveries(admin_client: Client, dead: Delivery) -> None:
    link = f"{DELIVERIES}?q={dead.endpoint_id}"
    assert link in admin_client.get(ENDPOINTS).content.decode()
    assert link in admin_client.get(page_of(dead.endpoint)).content.decode()


@pytest.mark.parametrize("model", [Event, Delivery, DeadLetter])
def test_what_happened_is_not_added_changed_or_deleted(
    admin_client: Client, dead: Delivery, model: type[Event]
) -> None:
    name, row = f"admin:deliveries_{model._meta.model_name}", model.objects.get()
    assert admin_client.post(reverse(f"{name}_add")).status_code == 403
    assert admin_client.post(page_of(row), {"type": "else"}).status_code == 403
    assert admin_client.post(reverse(f"{name}_delete", args=[row.pk])).status_code == 403
    page = admin_client.get(page_of(row)).content.decode()
    assert 'name="_save"' not in page


@pytest.mark.parametrize("url", [EVENTS, DELIVERIES, DEAD_LETTERS])
def test_a_long_list_takes_no_more_queries_than_a_short_one(
    admin_client: Client, make_delivery: MakeDelivery, url: str
) -> None:
    counts = []
    for rows in (2, 30):
        while Delivery.objects.count() < rows:
            attempt(in_state(make_delivery, "dead"))
        with CaptureQueriesContext(connection) as captured:
            assert len(listed(admin_client, url)) == rows
        counts.append(len(captured))
    assert counts[0] == counts[1]


def test_the_history_of_a_delivery_and_of_its_dead_letter_has_what_was_decided(
    admin_client: Client, dead: Delivery
) -> None:
    act(admin_client, DEAD_LETTERS, "redrive", dead.dead_letters.get())
    for row in (dead, dead.dead_letters.get()):
        page = admin_client.get(page_of(row).replace("/change/", "/history/")).content.decode()
        assert "Delivery redriven" in page


def pages() -> Iterator[str]:
    """Every page of the admin that a GET shows, for every row there is."""
    yield reverse("admin:index")
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{name}_changelist")
        yield reverse(f"{name}_add")
        for row in model._default_manager.all():
            for page in ("change", "delete", "history"):
                yield reverse(f"{name}_{page}", args=[row.pk])


def test_no_page_shows_a_secret_or_an_api_key(admin_client: Client, dead: Delivery) -> None:
    EventType.objects.create(name="made.once")
    _, key = ApiKey.objects.create_key(name="billing")
    act(admin_client, ENDPOINTS, "rotate_secret", dead.endpoint)
    act(admin_client, ENDPOINTS, "rotate_to_ed25519", dead.endpoint)
    ciphertexts = [secret.ciphertext for secret in SigningSecret.objects.all()]
    hidden = [key, *ciphertexts, *map(encryption.decrypt, ciphertexts)]
    assert len(hidden) == 7
    seen = 0
    for url in pages():
        response = admin_client.get(url)
        assert response.status_code in (200, 403), url
        page = response.content.decode()
        assert not [plaintext for plaintext in hidden if plaintext in page], url
        seen += response.status_code == 200
    assert seen > len(admin.site._registry)


def test_the_site_goes_by_its_name(admin_client: Client) -> None:
    page = admin_client.get(reverse("admin:index")).content.decode()
    assert re.search(r"<title>\s*Dashboard \| Angarium</title>", page)
