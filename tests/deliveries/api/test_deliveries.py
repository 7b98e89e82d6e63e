from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from deliveries.api import visibility
from deliveries.emit import emit
from deliveries.models import Attempt, DeadLetter, Delivery
from subscriptions.models import ApiKey, Subscriber
from tests.api_client import client_of, faults, queries_of_get, written
from tests.conftest import MakeEndpoint, Queue
from tests.deliveries.conftest import MakeDelivery
from tests.deliveries.test_operations import ALL_STATES, in_state

DELIVERIES = "/api/v1/deliveries/"


def path_of(delivery: Delivery, action: str = "") -> str:
    return f"{DELIVERIES}{delivery.pk}/{action}"


def attempt(delivery: Delivery, number: int, **fields: Any) -> Attempt:
    return Attempt(
        delivery=delivery,
        number=number,
        **{"outcome": "delivered", "duration_ms": 12, "ended_at": timezone.now(), **fields},
    )


def test_a_delivery_is_shown_with_the_attempts_at_it(
    api: APIClient, make_delivery: MakeDelivery
) -> None:
    delivery = make_delivery(state="delivered", attempt_number=2, ended_at=timezone.now())
    failed = attempt(delivery, 1, outcome="rejected", status=500, error="It answered 500.")
    failed.response_headers = "Server: gate"
    failed.dns_ms, failed.connect_ms, failed.tls_ms, failed.first_byte_ms = 3, 1, 4, 2
    arrived = attempt(delivery, 2, status=204, response_body="<ok>", first_byte_ms=11)
    Attempt.objects.bulk_create([failed, arrived])

    shown = api.get(path_of(delivery)).json()
    attempts = shown.pop("attempts")
    assert shown == {
        "id": delivery.pk,
        "event": delivery.event_id,
        "event_type": "made.once",
        "endpoint": delivery.endpoint_id,
        "state": "delivered",
        "lead": None,
        "batch_size": None,
        "attempt_number": 2,
        "created_at": written(delivery.created_at),
        "next_attempt_at": None,
        "ended_at": written(delivery.ended_at),
    }
    assert attempts == [
        {
            "number": 2,
            "outcome": "delivered",
            "status": 204,
            "duration_ms": 12,
            "dns_ms": None,
            "connect_ms": None,
            "tls_ms": None,
            "first_byte_ms": 11,
            "error": "",
            "response_body": "<ok>",
            "response_headers": "",
            "ended_at": written(arrived.ended_at),
        },
        {
            "number": 1,
            "outcome": "rejected",
            "status": 500,
            "duration_ms": 12,
            "dns_ms": 3,
            "connect_ms": 1,
            "tls_ms": 4,
            "first_byte_ms": 2,
            "error": "It answered 500.",
            "response_body": "",
            "response_headers": "Server: gate",
            "ended_at": written(failed.ended_at),
        },
    ]
    assert api.get(DELIVERIES).json()["results"] == [shown]


def test_a_delivery_shows_its_newest_hundred_attempts(
    api: APIClient, make_delivery: MakeDelivery
) -> None:
    delivery = make_delivery()
    Attempt.objects.bulk_create(attempt(delivery, number) for number in range(1, 102))
    attempts = api.get(path_of(delivery)).json()["attempts"]
    assert [one["number"] for one in attempts] == list(range(101, 1, -1))


@pytest.mark.parametrize("state", ALL_STATES)
def test_a_waiting_delivery_is_retried_a_dead_one_redriven_and_no_other(
    api: APIClient, make_delivery: MakeDelivery, state: str
) -> None:
    delivery = in_state(make_delivery, state)
    response = api.post(path_of(delivery, "retry/"))
    delivery.refresh_from_db()
    if state == "waiting":
        assert (response.status_code, delivery.state) == (200, "waiting")
        assert delivery.next_attempt_at is not None
        assert delivery.next_attempt_at <= timezone.now()
    elif state == "dead":
        assert (response.status_code, delivery.state) == (200, "pending")
        assert DeadLetter.objects.get().resolution == "redriven"
    else:
        assert (response.status_code, delivery.state) == (409, state)
        assert response.json()["detail"]
        return
    assert response.json()["state"] == delivery.state
    assert response.json()["attempts"] == []


@pytest.mark.parametrize("state", ALL_STATES)
def test_a_delivery_is_discarded_unless_it_is_under_way_or_has_arrived(
    api: APIClient, make_delivery: MakeDelivery, state: str
) -> None:
    delivery = in_state(make_delivery, state)
    response = api.post(path_of(delivery, "discard/"))
    delivery.refresh_from_db()
    if state in ("sending", "delivered", "discarded"):
        assert (response.status_code, delivery.state) == (409, state)
        assert response.json()["detail"]
    else:
        assert (response.status_code, delivery.state) == (200, "discarded")
        assert response.json()["state"] == "discarded"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("state", ["waiting", "dead"])
def test_the_workers_are_told_of_a_retry(
    api: APIClient, make_delivery: MakeDelivery, queue: Queue, state: str
) -> None:
    delivery = in_state(make_delivery, state)
    queue.purge()
    api.post(path_of(delivery, "retry/"))
    assert queue.deliveries() == {delivery.pk}


@pytest.mark.parametrize("key", ["nonsense", "evt_" + "0" * 32, "dlv_" + "f" * 32])
def test_a_delivery_that_is_not_there_is_not_found(
    api: APIClient, make_delivery: MakeDelivery, key: str
) -> None:
    make_delivery()
    assert api.get(f"{DELIVERIES}{key}/").status_code == 404
    assert api.post(f"{DELIVERIES}{key}/retry/").status_code == 404
    assert api.post(f"{DELIVERIES}{key}/discard/").status_code == 404


def test_deliveries_are_filtered_by_event_endpoint_subscriber_and_state(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    other = Subscriber.objects.create(name="Croesus")
    ours, theirs = make_endpoint("a", "b"), make_endpoint("a", owner=other, state="paused")
    first, second = emit("a", {}), emit("b", {})

    def found(**filters: str) -> set[tuple[str, str]]:
        listed = api.get(DELIVERIES, filters).json()["results"]
        return {(one["event"], one["endpoint"]) for one in listed}

    everything = {(first.pk, ours.pk), (first.pk, theirs.pk), (second.pk, ours.pk)}
    assert found() == everything
    assert found(event=first.pk) == {(first.pk, ours.pk), (first.pk, theirs.pk)}
    assert found(endpoint=ours.pk) == {(first.pk, ours.pk), (second.pk, ours.pk)}
    assert found(subscriber=other.pk) == {(first.pk, theirs.pk)}
    assert found(state="held") == {(first.pk, theirs.pk)}
    assert found(state="held", endpoint=ours.pk) == set()


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ({"event": "nonsense"}, "event"),
        ({"endpoint": "evt_" + "0" * 32}, "endpoint"),
        ({"subscriber": "a\0"}, "subscriber"),
        ({"state": "asleep"}, "state"),
        ({"stat": "held"}, "stat"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(
    api: APIClient, filters: dict[str, str], field: str
) -> None:
    response = api.get(DELIVERIES, filters)
    assert (response.status_code, faults(response)) == (400, [field])


def test_a_list_takes_as_many_queries_for_twenty_as_for_one(
    api: APIClient, make_delivery: MakeDelivery
) -> None:
    make_delivery()
    for_one = queries_of_get(api, DELIVERIES)
    for _ in range(19):
        make_delivery()
    assert queries_of_get(api, DELIVERIES) == for_one


def test_pages_lead_through_all_deliveries_newest_first(
    api: APIClient, make_delivery: MakeDelivery
) -> None:
    made = [make_delivery().pk for _ in range(5)]
    first = api.get(DELIVERIES, {"page_size": "3", "state": "pending"}).json()
    second = api.get(first["next"]).json()
    assert [one["id"] for one in first["results"] + second["results"]] == made[::-1]
    assert second["next"] is None


@pytest.mark.parametrize("few", [0, 1_000])
def test_a_subscribers_deliveries_and_events_are_listed_be_they_few_or_many(
    make_endpoint: MakeEndpoint, api: APIClient, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(visibility, "FEW", few)
    own = make_endpoint("*")
    other = make_endpoint("*", owner=Subscriber.objects.create(name="Another"))
    for_all, for_one = emit("invoice.paid", {}), emit("invoice.paid", {}, subscriber=own.subscriber)
    emit("invoice.paid", {}, subscriber=other.subscriber)
    bound = client_of(ApiKey(name="bound", scopes=["read"], subscriber=own.subscriber))

    def listed(client: APIClient, name: str, **query: str) -> list[str]:
        return [row["id"] for row in client.get(f"/api/v1/{name}/", query).json()["results"]]

    deliveries = list(own.deliveries.values_list("pk", flat=True))
    assert listed(api, "deliveries", subscriber=own.subscriber_id) == deliveries
    assert listed(bound, "deliveries") == deliveries
    assert listed(bound, "events") == [for_one.pk, for_all.pk]
