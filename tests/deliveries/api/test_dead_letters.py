from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from deliveries.api import views
from deliveries.models import DeadLetter
from tests.api_client import faults, queries_of_get, written
from tests.conftest import Queue
from tests.deliveries.conftest import MakeDelivery
from tests.deliveries.test_operations import in_state

DEAD_LETTERS = "/api/v1/dead-letters/"


def bury(make_delivery: MakeDelivery, **fields: Any) -> DeadLetter:
    delivery = in_state(make_delivery, "dead")
    DeadLetter.objects.filter(delivery=delivery).update(**fields)
    return DeadLetter.objects.get(delivery=delivery)


def resolve(letter: DeadLetter, resolution: str) -> None:
    DeadLetter.objects.filter(pk=letter.pk).update(
        resolution=resolution, resolved_at=timezone.now()
    )


def resolutions() -> list[str]:
    return list(DeadLetter.objects.order_by("id").values_list("resolution", flat=True))


def path_of(letter: DeadLetter, action: str = "") -> str:
    return f"{DEAD_LETTERS}{letter.pk}/{action}"


def test_a_dead_letter_tells_what_died_and_why(api: APIClient, make_delivery: MakeDelivery) -> None:
    letter = bury(make_delivery, last_error="It answered 500.")
    shown = api.get(path_of(letter)).json()
    assert shown == {
        "id": letter.pk,
        "delivery": letter.delivery_id,
        "event": letter.delivery.event_id,
        "endpoint": letter.delivery.endpoint_id,
        "reason": "exhausted",
        "last_error": "It answered 500.",
        "died_at": written(letter.died_at),
        "resolution": "open",
        "resolved_at": None,
    }
    assert api.get(DEAD_LETTERS).json()["results"] == [shown]


def test_the_open_ones_are_listed_unless_others_are_asked_for(
    api: APIClient, make_delivery: MakeDelivery
) -> None:
    is_open, redriven, dropped = (bury(make_delivery) for _ in range(3))
    resolve(redriven, "redriven")
    resolve(dropped, "dropped")

    def found(**filters: str) -> list[str]:
        return [one["id"] for one in api.get(DEAD_LETTERS, filters).json()["results"]]

    assert found() == [is_open.pk]
    assert found(resolution="open") == [is_open.pk]
    assert found(resolution="redriven") == [redriven.pk]
    assert found(resolution="any") == [dropped.pk, redriven.pk, is_open.pk]
    assert api.get(path_of(dropped)).json()["resolution"] == "dropped"


def test_dead_letters_are_filtered_by_endpoint_and_reason(
    api: APIClient, make_delivery: MakeDelivery
) -> None:
    exhausted, gone = bury(make_delivery), bury(make_delivery, reason="gone")

    def found(**filters: str) -> list[str]:
        return [one["id"] for one in api.get(DEAD_LETTERS, filters).json()["results"]]

    assert found(reason="gone") == [gone.pk]
    assert found(endpoint=exhausted.delivery.endpoint_id) == [exhausted.pk]
    assert found(endpoint=exhausted.delivery.endpoint_id, reason="gone") == []


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ({"endpoint": "nonsense"}, "endpoint"),
        ({"reason": "age"}, "reason"),
        ({"resolution": ""}, "resolution"),
        ({"resolution": "closed"}, "resolution"),
        ({"resoluton": "any"}, "resoluton"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(
    api: APIClient, filters: dict[str, str], field: str
) -> None:
    response = api.get(DEAD_LETTERS, filters)
    assert (response.status_code, faults(response)) == (400, [field])


@pytest.mark.parametrize(
    ("action", "state", "resolution"),
    [("redrive", "pending", "redriven"), ("discard", "discarded", "discarded")],
)
def test_a_dead_letter_is_resolved_once(
    api: APIClient, make_delivery: MakeDelivery, action: str, state: str, resolution: str
) -> None:
    letter = bury(make_delivery)
    response = api.post(path_of(letter, f"{action}/"))
    assert (response.status_code, response.json()["resolution"]) == (200, resolution)
    assert response.json()["resolved_at"] is not None
    letter.delivery.refresh_from_db()
    assert letter.delivery.state == state
    again = api.post(path_of(letter, f"{action}/"))
    assert again.status_code == 409
    assert resolution in again.json()["detail"]


@pytest.mark.parametrize("action", ["redrive", "discard"])
def test_an_old_dead_letter_does_not_stand_for_the_new_one_of_its_delivery(
    api: APIClient, make_delivery: MakeDelivery, action: str
) -> None:
    old = bury(make_delivery)
    resolve(old, "redriven")
    DeadLetter.objects.create(delivery=old.delivery, reason="gone", died_at=timezone.now())
    assert api.post(path_of(old, f"{action}/")).status_code == 409
    assert resolutions() == ["redriven", ""]


@pytest.mark.parametrize(("action", "becomes"), [("redrive", "redriven"), ("discard", "discarded")])
@pytest.mark.parametrize("by", ["endpoint", "reason", "ids", "all of it"])
def test_many_are_resolved_by_what_they_have_in_common(
    api: APIClient, make_delivery: MakeDelivery, action: str, becomes: str, by: str
) -> None:
    letter, other = bury(make_delivery, reason="gone"), bury(make_delivery)
    criteria = {
        "endpoint": letter.delivery.endpoint_id,
        "reason": "gone",
        "ids": [letter.pk, "dead_" + "f" * 32],
    }
    body = criteria if by == "all of it" else {by: criteria[by]}
    response = api.post(f"{DEAD_LETTERS}{action}/", body)
    assert (response.status_code, response.json()) == (200, {"count": 1, "more": False})
    assert resolutions() == [becomes, ""]
    again = api.post(f"{DEAD_LETTERS}{action}/", body)
    assert again.json() == {"count": 0, "more": False}
    other.refresh_from_db()
    assert other.resolution == ""


@pytest.mark.parametrize("action", ["redrive", "discard"])
def test_one_request_resolves_a_bounded_number_the_oldest_first(
    api: APIClient, make_delivery: MakeDelivery, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    monkeypatch.setattr(views, "BULK", 2)
    for _ in range(3):
        bury(make_delivery)
    path, body = f"{DEAD_LETTERS}{action}/", {"reason": "exhausted"}
    assert api.post(path, body).json() == {"count": 2, "more": True}
    assert [bool(resolution) for resolution in resolutions()] == [True, True, False]
    assert api.post(path, body).json() == {"count": 1, "more": False}


@pytest.mark.parametrize("action", ["redrive", "discard"])
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "non_field_errors"),
        ([], "non_field_errors"),
        ({"endpoint": "nonsense"}, "endpoint"),
        ({"endpoint": None}, "endpoint"),
        ({"reason": "age"}, "reason"),
        ({"ids": []}, "ids"),
        ({"ids": "dead_" + "0" * 32}, "ids"),
        ({"ids": ["dlv_" + "0" * 32]}, "ids"),
        ({"ids": ["dead_" + "0" * 32] * 1001}, "ids"),
        ({"resolution": "open"}, "resolution"),
    ],
)
def test_a_selection_that_makes_no_sense_resolves_nothing(
    api: APIClient, make_delivery: MakeDelivery, action: str, body: Any, field: str
) -> None:
    bury(make_delivery)
    response = api.post(f"{DEAD_LETTERS}{action}/", body)
    assert (response.status_code, faults(response)) == (400, [field])
    assert resolutions() == [""]


@pytest.mark.django_db(transaction=True)
def test_the_workers_are_told_of_what_is_redriven(
    api: APIClient, make_delivery: MakeDelivery, queue: Queue
) -> None:
    one, many = bury(make_delivery), [bury(make_delivery, reason="gone") for _ in range(2)]
    queue.purge()
    api.post(path_of(one, "redrive/"))
    assert queue.deliveries() == {one.delivery_id}
    api.post(f"{DEAD_LETTERS}redrive/", {"reason": "gone"})
    assert queue.deliveries() == {letter.delivery_id for letter in many}


@pytest.mark.parametrize("key", ["nonsense", "dlv_" + "0" * 32, "dead_" + "f" * 32])
def test_a_dead_letter_that_is_not_there_is_not_found(api: APIClient, key: str) -> None:
    assert api.get(f"{DEAD_LETTERS}{key}/").status_code == 404
    assert api.post(f"{DEAD_LETTERS}{key}/redrive/").status_code == 404


def test_a_list_takes_as_many_queries_for_twenty_as_for_one(
    api: APIClient, make_delivery: MakeDelivery
) -> None:
    bury(make_delivery)
    for_one = queries_of_get(api, DEAD_LETTERS)
    for _ in range(19):
        bury(make_delivery)
    assert queries_of_get(api, DEAD_LETTERS) == for_one
