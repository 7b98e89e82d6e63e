from typing import Any

import pytest
from rest_framework.test import APIClient

from deliveries.emit import emit
from deliveries.models import Delivery, Event
from subscriptions.models import Subscriber, Subscription
from tests.api_client import faults
from tests.conftest import MakeEndpoint, Queue

pytestmark = pytest.mark.django_db

TRY = "/api/v1/events/try-subscription/"
PAID = {"type": "invoice.paid", "data": {"amount": 120}, "channels": ["eu"]}


def tried(api: APIClient, **asked: Any) -> list[dict[str, Any]]:
    response = api.post(TRY, {"pattern": "*", **asked})
    assert response.status_code == 200, response.json()
    results: list[dict[str, Any]] = response.json()["results"]
    return results


@pytest.mark.parametrize(
    ("asked", "matched", "reason", "evaluates_to"),
    [
        ({}, True, "matched", None),
        ({"pattern": "order.*"}, False, "type", None),
        ({"channels": ["us"]}, False, "channel", None),
        ({"channels": ["us", "eu"], "filter": "amount > `100`"}, True, "matched", "true"),
        ({"filter": "amount > `200`"}, False, "filter", "false"),
        ({"filter": "lines[0]"}, False, "filter", "null"),
        ({"filter": '{"ü": amount}'}, True, "matched", '{"ü": 120}'),
    ],
)
def test_an_example_shows_whether_it_would_be_delivered_and_why(
    api: APIClient, asked: dict[str, Any], matched: bool, reason: str, evaluates_to: str | None
) -> None:
    [trial] = tried(api, event=PAID, **asked)
    assert trial.pop("explanation")
    assert trial == {
        "event": None,
        "type": "invoice.paid",
        "channels": ["eu"],
        "matched": matched,
        "decided_by": reason,
        "evaluates_to": evaluates_to,
        "filter_error": "",
    }


def test_a_filter_that_fails_is_shown_to_let_pass_and_why(api: APIClient) -> None:
    [trial] = tried(api, event=PAID, filter="starts_with(name, 'A')")
    assert (trial["matched"], trial["decided_by"]) == (True, "filter_failed")
    assert trial["evaluates_to"] is None
    assert trial["filter_error"] == "starts_with() takes string, not null."


def test_a_long_value_is_cut(api: APIClient) -> None:
    [trial] = tried(api, event={"type": "a", "data": "x" * 5000}, filter="@")
    assert len(trial["evaluates_to"]) == 1001


def test_without_an_example_the_last_ten_events_are_tried_newest_first(api: APIClient) -> None:
    emitted = [emit("invoice.paid", {"n": n}).pk for n in range(12)]
    trials = tried(api, filter="n >= `10`")
    assert [trial["event"] for trial in trials] == emitted[:1:-1]
    assert [trial["matched"] for trial in trials] == [True, True] + [False] * 8


def test_the_last_events_may_be_those_that_one_subscriber_could_get(
    api: APIClient, subscriber: Subscriber
) -> None:
    other = Subscriber.objects.create(name="Croesus")
    emit("a", {}, subscriber=other)
    for_everybody = emit("a", {})
    theirs = [emit("a", {}, subscriber=subscriber).pk for _ in range(3)]
    trials = tried(api, subscriber=subscriber.pk)
    assert [trial["event"] for trial in trials] == [*reversed(theirs), for_everybody.pk]
    assert len(tried(api)) == 5


def test_nothing_is_delivered_or_kept(
    api: APIClient, make_endpoint: MakeEndpoint, queue: Queue
) -> None:
    make_endpoint()
    emit("a", {})
    before = [model.objects.count() for model in (Event, Delivery, Subscription)]
    tried(api, event=PAID)
    tried(api, filter="a")
    assert [model.objects.count() for model in (Event, Delivery, Subscription)] == before
    assert queue.messages() == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"pattern": "*.paid"}, "pattern"),
        ({"filter": "a["}, "filter"),
        ({"channels": ["a b"]}, "channels"),
        ({"subscriber": "nonsense"}, "subscriber"),
        ({"event": {}}, "event"),
        ({"event": "a"}, "event"),
        ({"event": {"type": "*", "data": 1}}, "event"),
        ({"event": {"type": "a", "data": 1, "id": "evt_1"}}, "event"),
        ({"event": {"type": "a", "data": 1, "channels": "eu"}}, "event"),
        ({"endpoint": "ep_" + "0" * 32}, "endpoint"),
    ],
)
def test_what_is_wrong_with_a_trial_is_said_of_the_field(
    api: APIClient, changes: dict[str, Any], field: str
) -> None:
    response = api.post(TRY, {"pattern": "*", **changes})
    assert (response.status_code, faults(response)) == (400, [field])
