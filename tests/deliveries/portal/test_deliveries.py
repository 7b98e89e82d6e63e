"""Deliveries and dead letters, as their subscriber reads them, and sends them again."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from deliveries.emit import emit
from deliveries.models import Attempt, DeadLetter, Delivery
from deliveries.portal.views.deliveries import PAGE
from tests.conftest import MakeEndpoint
from tests.deliveries.conftest import MakeDelivery
from tests.deliveries.conftest import make_delivery as make_delivery
from tests.deliveries.portal.conftest import Visitor
from tests.deliveries.test_operations import in_state

pytestmark = pytest.mark.django_db


def listed(page: str) -> list[str]:
    return [part.partition("/")[0] for part in page.split('href="/portal/deliveries/')[1:]][1:]


def ids(page: str) -> list[str]:
    return [one for one in listed(page) if one.startswith("dlv_")]


def test_an_empty_list_says_what_will_be_there(visitor: Visitor) -> None:
    assert "Nothing delivered yet" in visitor.says("deliveries/")
    assert "None like that" in visitor.says("deliveries/", state="dead")
    assert "None: all is well" in visitor.says("dead-letters/")


def test_the_list_is_newest_first_and_filtered_by_endpoint_state_and_event_type(
    visitor: Visitor, make_endpoint: MakeEndpoint
) -> None:
    one, other = make_endpoint("a.*"), make_endpoint("*")
    for name in ("a.b", "c.d"):
        emit(name, {})
    Delivery.objects.filter(event__type="c.d").update(
        state="waiting", next_attempt_at=timezone.now()
    )
    everything = list(Delivery.objects.order_by("-pk"))
    assert ids(visitor.says("deliveries/")) == [row.pk for row in everything]
    for query in (
        {"endpoint": one.pk},
        {"endpoint": other.pk, "state": "waiting"},
        {"type": "a.b"},
        {"type": "a.b", "state": "waiting"},
    ):
        lookups = {"endpoint": "endpoint_id", "state": "state", "type": "event__type"}
        wanted = Delivery.objects.filter(**{lookups[name]: value for name, value in query.items()})
        shown = ids(visitor.says("deliveries/", **query))
        assert shown == list(wanted.order_by("-pk").values_list("pk", flat=True)), query


@pytest.mark.parametrize("name", ["state", "type", "before", "endpoint"])
@pytest.mark.parametrize("value", ["x y", "\0"])
def test_a_filter_that_makes_no_sense_is_passed_over(
    visitor: Visitor, make_endpoint: MakeEndpoint, name: str, value: str
) -> None:
    make_endpoint("*")
    emit("a.b", {})
    assert len(ids(visitor.says("deliveries/", **{name: value}))) == 1


def test_older_ones_are_on_the_next_page_and_a_page_costs_the_same(
    visitor: Visitor, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint("*")
    make_endpoint("*")
    for number in range(PAGE // 2 + 2):
        emit("a.b", {"n": number})
    first = visitor.says("deliveries/")
    older = first.split('href="?')[1].partition('"')[0].replace("&amp;", "&")
    with CaptureQueriesContext(
        connection,
    ) as queries:
        second = visitor.client.get(f"/portal/deliveries/?{older}").content.decode()
    assert len(ids(first)) == PAGE
    found = ids(first) + ids(second)
    assert found == list(Delivery.objects.order_by("-pk").values_list("pk", flat=True))
    assert len(queries) <= 6
    assert 'href="?' not in second


def test_a_page_shows_the_event_and_each_attempt(
    visitor: Visitor, make_delivery: MakeDelivery
) -> None:
    delivery = in_state(make_delivery, "waiting")
    Attempt.objects.create(
        delivery=delivery,
        number=1,
        outcome="rejected",
        status=503,
        duration_ms=84,
        error="answered 503 \u202e",
        response_body='{"detail": "<b>the loom</b>"}',
        response_headers="Server: <b>gate</b>\u202e",
        ended_at=timezone.now(),
    )
    page = visitor.says(f"deliveries/{delivery.pk}/")
    assert r"Attempt 1: answered 503 \u202e." in page
    assert "It waits for its next attempt." in page
    assert "&lt;b&gt;the loom&lt;/b&gt;" in page
    assert r"Server: &lt;b&gt;gate&lt;/b&gt;\u202e" in page
    assert "&quot;n&quot;: 1" in page
    assert delivery.event_id in page


@pytest.mark.parametrize(
    ("state", "becomes", "notice"),
    [
        ("dead", "pending", "retried"),
        ("waiting", "waiting", "retried"),
        ("delivered", "delivered", "not-retried"),
    ],
)
def test_what_waits_or_is_dead_is_tried_again(
    visitor: Visitor, make_delivery: MakeDelivery, state: str, becomes: str, notice: str
) -> None:
    delivery = in_state(make_delivery, state)
    answer = visitor.post(f"deliveries/{delivery.pk}/retry/")
    assert answer.headers["Location"] == f"/portal/deliveries/{delivery.pk}/?done={notice}"
    delivery.refresh_from_db()
    assert delivery.state == becomes
    if notice == "retried":
        assert (delivery.next_attempt_at or delivery.rung_at) <= timezone.now()


def test_what_has_ended_is_replayed(visitor: Visitor, make_delivery: MakeDelivery) -> None:
    for state, notice in (("delivered", "replayed"), ("pending", "not-replayed")):
        delivery = in_state(make_delivery, state)
        answer = visitor.post(f"deliveries/{delivery.pk}/replay/")
        assert answer.headers["Location"].endswith(f"?done={notice}")
        delivery.refresh_from_db()
        assert delivery.state == "pending"


def test_whoever_paused_an_endpoint_in_the_portal_is_named_to_whoever_asks_why(
    visitor: Visitor, make_delivery: MakeDelivery
) -> None:
    delivery = in_state(make_delivery, "held")
    visitor.post(f"endpoints/{delivery.endpoint_id}/pause/")
    page = visitor.says(f"deliveries/{delivery.pk}/")
    assert "The endpoint is paused since" in page
    assert "by Shah Abbas (portal)" in page


def test_dead_letters_that_are_chosen_are_redriven(
    visitor: Visitor, make_delivery: MakeDelivery
) -> None:
    one, other = in_state(make_delivery, "dead"), in_state(make_delivery, "dead")
    page = visitor.says("dead-letters/")
    letter = DeadLetter.objects.get(delivery=one)
    assert f'value="{letter.pk}"' in page
    answer = visitor.post("dead-letters/redrive/", letter=[letter.pk])
    assert answer.headers["Location"] == "/portal/dead-letters/?done=redriven"
    states = {row.pk: row.state for row in Delivery.objects.all()}
    assert states == {one.pk: "pending", other.pk: "dead"}
    answer = visitor.post("dead-letters/redrive/")
    assert answer.headers["Location"] == "/portal/dead-letters/?done=not-redriven"
