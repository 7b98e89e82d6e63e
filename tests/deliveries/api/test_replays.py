from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from deliveries import replays
from deliveries.models import Delivery, Replay
from subscriptions.history import HistoryEntry
from subscriptions.models import Endpoint, Feed, Subscription
from tests.api_client import faults, written
from tests.conftest import MakeEndpoint, Queue
from tests.deliveries.conftest import MakeDelivery, states
from tests.deliveries.test_operations import in_state

pytestmark = pytest.mark.usefixtures("queue")

REPLAYS = "/api/v1/replays/"
DRY_RUN = f"{REPLAYS}dry-run/"


@pytest.fixture
def delivered(make_delivery: MakeDelivery) -> Delivery:
    delivery = in_state(make_delivery, "delivered")
    # Ids and times are made by the same clock, and are the same within a millisecond.
    second = timedelta(seconds=1)
    Endpoint.objects.update(created_at=timezone.now() - second)
    return delivery


@pytest.fixture
def replay(api: APIClient, delivered: Delivery) -> Replay:
    answer = api.post(REPLAYS, {"endpoint": delivered.endpoint_id})
    assert answer.status_code == 201
    return Replay.objects.get()


def path_of(replay: Replay, action: str = "") -> str:
    return f"{REPLAYS}{replay.pk}/{action}"


def test_one_is_started_with_what_was_left_open_filled_in_and_shown(
    api: APIClient, delivered: Delivery
) -> None:
    answer = api.post(REPLAYS, {"endpoint": delivered.endpoint_id, "pattern": "made.*"})
    replay = Replay.objects.get()
    assert (answer.status_code, answer.json()) == (
        201,
        {
            "id": replay.pk,
            "endpoint": delivered.endpoint_id,
            "kind": "again",
            "pattern": "made.*",
            "states": ["delivered", "dead"],
            "since": None,
            "until": written(replay.created_at),
            "rate": 50,
            "state": "running",
            "waits_for": "",
            "progress": 0.0,
            "replayed": 0,
            "created_at": written(replay.created_at),
            "ended_at": None,
        },
    )
    assert api.get(path_of(replay)).json() == answer.json()
    assert api.get(REPLAYS).json()["results"] == [answer.json()]


def test_who_started_it_is_in_the_history(api: APIClient, replay: Replay) -> None:
    entry = HistoryEntry.objects.get(kind="replay")
    assert (entry.object_id, entry.action, entry.actor_kind) == (replay.pk, "created", "api_key")


def test_a_range_from_before_it_is_cut_at_its_start(api: APIClient, delivered: Delivery) -> None:
    tomorrow = timezone.now() + timedelta(days=1)
    body = {"endpoint": delivered.endpoint_id, "until": tomorrow.isoformat()}
    answer = api.post(REPLAYS, body).json()
    assert answer["until"] == answer["created_at"]


def test_a_dry_run_counts_and_keeps_nothing(api: APIClient, delivered: Delivery) -> None:
    for pattern, count in (("*", 1), ("other.*", 0)):
        answer = api.post(DRY_RUN, {"endpoint": delivered.endpoint_id, "pattern": pattern})
        assert (answer.status_code, answer.json()) == (200, {"count": count, "exact": True})
    assert not Replay.objects.exists()
    assert states() == {delivered.pk: "delivered"}


def test_a_dry_run_tells_what_a_new_subscription_would_have_got(
    api: APIClient, delivered: Delivery
) -> None:
    Delivery.objects.all().delete()
    body = {"endpoint": delivered.endpoint_id, "kind": "missed"}
    assert api.post(DRY_RUN, body).json() == {"count": 0, "exact": True}
    Subscription.objects.create(endpoint=delivered.endpoint, pattern="made.*")
    assert api.post(DRY_RUN, body).json() == {"count": 1, "exact": True}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "other"}, "kind"),
        ({"kind": "missed", "states": ["dead"]}, "states"),
        ({"states": ["pending"]}, "states"),
        ({"pattern": "invoice*"}, "pattern"),
        ({"rate": 0}, "rate"),
        ({"rate": 1001}, "rate"),
        ({"since": "2999-01-01T00:00:00Z"}, "since"),
        ({"since": "yesterday"}, "since"),
        ({"endpoint": f"ep_{'0' * 32}"}, "endpoint"),
    ],
)
@pytest.mark.parametrize("path", [REPLAYS, DRY_RUN])
def test_what_makes_no_sense_is_refused_by_the_name_of_the_field(
    api: APIClient, delivered: Delivery, path: str, body: dict[str, Any], field: str
) -> None:
    answer = api.post(path, {"endpoint": delivered.endpoint_id, **body})
    assert (answer.status_code, faults(answer)) == (400, [field])


@pytest.mark.parametrize("path", [REPLAYS, DRY_RUN])
def test_a_feed_and_a_deleted_endpoint_are_refused(
    api: APIClient, make_endpoint: MakeEndpoint, path: str
) -> None:
    gone = make_endpoint()
    gone.delete_for_good()
    answer = api.post(path, {"endpoint": gone.pk})
    assert (answer.status_code, faults(answer)) == (400, ["endpoint"])
    answer = api.post(path, {"endpoint": Feed.objects.open(gone.subscriber).pk})
    assert answer.status_code == 400
    assert "earlier cursor" in answer.content.decode()


def test_an_endpoint_has_one_at_a_time(api: APIClient, replay: Replay) -> None:
    answer = api.post(REPLAYS, {"endpoint": replay.endpoint_id})
    assert (answer.status_code, faults(answer)) == (409, ["detail"])
    assert "under way" in answer.json()["detail"]


def test_it_is_paused_resumed_and_cancelled(api: APIClient, replay: Replay) -> None:
    for action, becomes in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        answer = api.post(path_of(replay, f"{action}/"))
        assert (answer.status_code, answer.json()["state"]) == (200, becomes)
        again = api.post(path_of(replay, f"{action}/"))
        assert (again.status_code, faults(again)) == (409, ["detail"])
        assert becomes in again.json()["detail"]
    assert Replay.objects.get().ended_at is not None


def test_it_says_what_it_waits_for(api: APIClient, replay: Replay) -> None:
    Endpoint.objects.update(state="paused")
    assert "paused" in api.get(path_of(replay)).json()["waits_for"]


def test_it_says_how_far_it_has_come(api: APIClient, replay: Replay) -> None:
    while replays.step(replay.pk) is not None:
        pass
    shown = api.get(path_of(replay)).json()
    assert (shown["state"], shown["progress"], shown["replayed"]) == ("finished", 1.0, 1)


def test_they_are_listed_by_endpoint_subscriber_and_state(
    api: APIClient, replay: Replay, make_endpoint: MakeEndpoint
) -> None:
    other = api.post(REPLAYS, {"endpoint": make_endpoint().pk}).json()["id"]
    replays.pause([other])

    def found(**filters: str) -> list[str]:
        return [one["id"] for one in api.get(REPLAYS, filters).json()["results"]]

    assert found() == [other, replay.pk]
    assert found(subscriber=replay.endpoint.subscriber_id) == [other, replay.pk]
    assert found(endpoint=replay.endpoint_id) == [replay.pk]
    assert found(state="paused") == [other]


@pytest.mark.django_db(transaction=True)
def test_a_single_delivery_that_has_ended_is_replayed(
    api: APIClient, delivered: Delivery, queue: Queue
) -> None:
    queue.purge()
    path = f"/api/v1/deliveries/{delivered.pk}/replay/"
    answer = api.post(path)
    assert (answer.status_code, answer.json()["state"]) == (200, "pending")
    assert queue.deliveries() == {delivered.pk}
    again = api.post(path)
    assert (again.status_code, faults(again)) == (409, ["detail"])
