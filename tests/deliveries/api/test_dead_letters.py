import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from deliveries import dead_letters
from deliveries.exporting import FORMULA
from deliveries.models import DeadLetter, DeadLetterJob
from subscriptions.history import HistoryEntry
from subscriptions.ids import to_uuid
from subscriptions.models import Subscriber
from tests.api_client import faults, queries_of_get, written
from tests.conftest import Configure, Queue
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
        "event_type": "made.once",
        "endpoint": letter.delivery.endpoint_id,
        "subscriber": letter.delivery.endpoint.subscriber_id,
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


def outcome(response: Any) -> tuple[int, int, int, bool]:
    """Of a redrive or discard of many: status, how many matched and were changed, is it over?"""
    job = response.json()
    return response.status_code, job["matched"], job["changed"], job["ended_at"] is not None


@pytest.mark.parametrize(("action", "becomes"), [("redrive", "redriven"), ("discard", "discarded")])
@pytest.mark.parametrize(
    "by", ["endpoint", "reason", "ids", "event_type", "died_before", "all of it"]
)
def test_many_are_resolved_by_what_they_have_in_common(
    api: APIClient, make_delivery: MakeDelivery, action: str, becomes: str, by: str
) -> None:
    an_hour_ago = timezone.now() - timedelta(hours=1)
    letter = bury(make_delivery, reason="gone", event_type="made.before", died_at=an_hour_ago)
    other = bury(make_delivery)
    criteria = {
        "endpoint": letter.delivery.endpoint_id,
        "reason": "gone",
        "ids": [letter.pk, "dead_" + "f" * 32],
        "event_type": "made.before",
        "died_before": written(an_hour_ago + timedelta(seconds=1)),
    }
    body = criteria if by == "all of it" else {by: criteria[by]}
    counted = api.post(f"{DEAD_LETTERS}{action}/", {**body, "dry_run": True})
    assert outcome(counted) == (200, 1, 0, False)
    assert (counted.json()["id"], resolutions()) == (None, ["", ""])
    assert outcome(api.post(f"{DEAD_LETTERS}{action}/", body)) == (200, 1, 1, True)
    assert resolutions() == [becomes, ""]
    assert outcome(api.post(f"{DEAD_LETTERS}{action}/", body)) == (200, 0, 0, True)
    other.refresh_from_db()
    assert other.resolution == ""


@pytest.mark.parametrize("action", ["redrive", "discard"])
def test_however_many_there_are_the_rest_follows_and_what_comes_later_is_not_meant(
    api: APIClient, make_delivery: MakeDelivery, configure: Configure, action: str
) -> None:
    configure(SWEEP_CHUNK=2, SWEEP_CHUNKS=2)
    for _ in range(7):
        bury(make_delivery)
    response = api.post(f"{DEAD_LETTERS}{action}/", {"reason": "exhausted"})
    assert outcome(response) == (202, 7, 2, False)
    assert [bool(one) for one in resolutions()] == [True, True, *[False] * 5]
    bury(make_delivery)
    job = f"/api/v1/dead-letter-jobs/{response.json()['id']}/"
    assert dead_letters.carry_on_all() == 4
    assert outcome(api.get(job)) == (200, 7, 6, False)
    assert dead_letters.carry_on_all() == 1
    assert outcome(api.get(job)) == (200, 7, 7, True)
    assert dead_letters.carry_on_all() == 0
    assert [bool(one) for one in resolutions()] == [*[True] * 7, False]


def test_what_is_redriven_has_to_fit_into_the_queue(
    api: APIClient, make_delivery: MakeDelivery, configure: Configure, queue: Queue
) -> None:
    for _ in range(6):
        bury(make_delivery)
    configure(SWEEP_CHUNK=1, QUEUE_LIMIT=3)
    queue.purge()
    api.post(f"{DEAD_LETTERS}redrive/", {"reason": "exhausted"})
    assert dead_letters.carry_on_all() == 3


def test_the_history_has_one_entry_for_the_job_of_whoever_asked_for_it(
    api: APIClient, make_delivery: MakeDelivery, configure: Configure
) -> None:
    configure(SWEEP_CHUNK=1)
    for _ in range(3):
        bury(make_delivery)
    api.post(f"{DEAD_LETTERS}discard/", {"reason": "exhausted"})
    dead_letters.carry_on_all()
    entry = HistoryEntry.objects.get(kind="delivery")
    assert (entry.action, entry.count, entry.actor_kind) == ("discarded", 3, "api_key")


@pytest.mark.django_db(transaction=True)
def test_two_that_carry_on_at_once_change_each_dead_letter_once(
    api: APIClient, make_delivery: MakeDelivery, configure: Configure, queue: Queue
) -> None:
    configure(SWEEP_CHUNK=2)
    letters = [bury(make_delivery) for _ in range(12)]
    queue.purge()
    job = api.post(f"{DEAD_LETTERS}redrive/", {"reason": "exhausted"}).json()["id"]

    def run(_: int) -> None:
        try:
            dead_letters.carry_on_all()
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(run, range(3)))
    dead_letters.carry_on_all()
    assert DeadLetterJob.objects.get(pk=job).changed == 12
    rung = [args[0] for _, args in queue.messages()]
    assert sorted(rung) == sorted(letter.delivery_id for letter in letters)


class TestExport:
    def read(self, api: APIClient, **query: str) -> str:
        response: Any = api.get(f"{DEAD_LETTERS}export/", query)
        assert response.status_code == 200
        return b"".join(response.streaming_content).decode()

    def test_it_has_what_the_filters_leave_with_the_event_s_data(
        self, api: APIClient, make_delivery: MakeDelivery
    ) -> None:
        bury(make_delivery)
        letter = bury(make_delivery, reason="gone", last_error="It answered 410.")
        [line] = self.read(api, reason="gone").splitlines()
        row = json.loads(line)
        assert (row["id"], row["last_error"]) == (letter.pk, "It answered 410.")
        assert (row["event_type"], row["data"]) == ("made.once", {"n": 1})
        assert row["url"] == letter.delivery.endpoint.url

    def test_it_goes_page_by_page(
        self, api: APIClient, make_delivery: MakeDelivery, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("deliveries.exporting.PAGE", 2)
        letters = [bury(make_delivery).pk for _ in range(5)]
        exported = [json.loads(line)["id"] for line in self.read(api).splitlines()]
        assert exported == letters

    @pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
    def test_no_cell_of_a_csv_is_a_formula(
        self, api: APIClient, make_delivery: MakeDelivery, start: str
    ) -> None:
        bury(make_delivery, last_error=f'{start}HYPERLINK("http://x","y")')
        [row] = csv.DictReader(io.StringIO(self.read(api, format="csv"), newline=""))
        assert row["last_error"] == f'\'{start}HYPERLINK("http://x","y")'
        assert json.loads(row["data"]) == {"n": 1}
        assert not [cell for cell in row.values() if cell.startswith(FORMULA)]


@pytest.mark.parametrize(
    "filters", ["endpoint", "subscriber", "event_type", "reason", "resolution", "died_before"]
)
def test_a_list_and_a_selection_go_by_an_index(
    subscriber: Subscriber, make_delivery: MakeDelivery, filters: str
) -> None:
    letter = bury(make_delivery)
    values = {
        "endpoint": {"endpoint": letter.delivery.endpoint_id},
        "subscriber": {"subscriber": subscriber.pk},
        "event_type": {"event_type": "made.once"},
        "reason": {"reason": "gone"},
        "resolution": {},
        "died_before": {"died_at__lt": timezone.now()},
    }
    fill_with_dead_letters(letter, 20_000)
    newest = DeadLetter.objects.filter(resolution="", **values[filters])[:50]
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE deliveries_deadletter")
    assert "Seq Scan" not in newest.explain()


def fill_with_dead_letters(like: DeadLetter, count: int) -> None:
    """As many as an outage leaves, of one delivery; all but the first are resolved."""
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO deliveries_deadletter
                      (id, delivery_id, endpoint_id, subscriber_id, event_type, reason,
                       last_error, died_at, resolution, resolved_at)
               SELECT gen_random_uuid(), delivery_id, endpoint_id, subscriber_id, event_type,
                      reason, last_error, died_at, 'redriven', now()
                 FROM deliveries_deadletter, generate_series(1, %s) WHERE id = %s""",
            [count, to_uuid(like.pk)],
        )


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
        ({"died_before": "yesterday"}, "died_before"),
        ({"dry_run": True}, "non_field_errors"),
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
