from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from deliveries import releasing, sweeps
from deliveries.emit import emit
from deliveries.models import DeadLetter, Delivery
from subscriptions.models import Endpoint
from tests.conftest import Configure, MakeEndpoint, Queue
from tests.deliveries.conftest import states

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("queue")]

AGO = timezone.now() - timedelta(hours=1)


@pytest.fixture(autouse=True)
def ten_a_second(configure: Configure) -> None:
    configure(RELEASE_RATE="10/s")


def held(endpoint: Endpoint, count: int) -> list[str]:
    """So many deliveries that were held for an endpoint, which is back."""
    Endpoint.objects.filter(pk=endpoint.pk).update(state="paused")
    event_type = endpoint.subscriptions.get().pattern
    made = [emit(event_type, number).deliveries.get().pk for number in range(count)]
    Endpoint.objects.filter(pk=endpoint.pk).update(state="active")
    return made


def waits(deliveries: list[str]) -> list[float]:
    """When each of them comes, in seconds from now; 0 for those whose message is sent."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")  # when the test's transaction began
        [(now,)] = cursor.fetchall()
    columns = Delivery.objects.in_bulk(deliveries)
    found = []
    for one in deliveries:
        due = columns[one].next_attempt_at
        assert columns[one].state != "held"
        assert columns[one].rung_at is not None
        found.append((due - now).total_seconds() if due else 0.0)
    return found


class TestRelease:
    def test_a_burst_goes_at_once_and_the_rest_one_after_another_the_oldest_first(
        self, make_endpoint: MakeEndpoint, queue: Queue
    ) -> None:
        deliveries = held(make_endpoint("a"), 30)
        queue.purge()
        assert sweeps.held() == 30
        found = waits(deliveries)
        assert found[:10] == [0.0] * 10
        assert found == sorted(found)
        assert found[-1] == pytest.approx(2.0, abs=0.7)
        assert queue.deliveries() == set(deliveries)

    def test_no_more_are_released_than_have_their_turn_soon(
        self, make_endpoint: MakeEndpoint, configure: Configure
    ) -> None:
        configure(RELEASE_RATE="2/s")
        deliveries = held(make_endpoint("a"), 100)
        soon = int(2 * releasing.AHEAD)
        assert sweeps.held() == pytest.approx(soon + 2, abs=2)
        assert sweeps.held() <= 2
        left = [one for one in deliveries if states()[one] == "held"]
        assert left == deliveries[-len(left) :]

    def test_the_endpoint_s_own_rate_counts_where_it_is_lower(
        self, make_endpoint: MakeEndpoint
    ) -> None:
        slow, quick = make_endpoint("a", rate="1/s"), make_endpoint("b", rate="1000/s")
        first, second = held(slow, 5), held(quick, 5)
        sweeps.held()
        assert waits(first) == pytest.approx([0, 1, 2, 3, 4], abs=0.7)
        assert waits(second) == [0.0] * 5

    def test_each_endpoint_has_an_equal_share(
        self, make_endpoint: MakeEndpoint, configure: Configure
    ) -> None:
        configure(SWEEP_CHUNK=10, SWEEP_CHUNKS=1)
        many, few = held(make_endpoint("a"), 20), held(make_endpoint("b"), 3)
        assert sweeps.held() == 8
        assert sum(states()[one] != "held" for one in few) == 3
        assert sum(states()[one] != "held" for one in many) == 5

    def test_a_batch_takes_one_turn(
        self, make_endpoint: MakeEndpoint, configure: Configure
    ) -> None:
        configure(RELEASE_RATE="1/h")
        deliveries = held(make_endpoint("a", batch_events=5), 12)
        assert sweeps.held() == 5
        assert [states()[one] for one in deliveries] == ["gathering"] * 5 + ["held"] * 7

    def test_without_a_rate_all_go_at_once(
        self, make_endpoint: MakeEndpoint, configure: Configure
    ) -> None:
        configure(RELEASE_RATE="")
        deliveries = held(make_endpoint("a"), 50)
        assert sweeps.held() == 50
        assert waits(deliveries) == [0.0] * 50

    def test_nothing_is_released_while_the_circuit_is_open(
        self, make_endpoint: MakeEndpoint
    ) -> None:
        held(make_endpoint("a"), 5)
        Endpoint.objects.update(
            circuit="open", openings=1, circuit_opened_at=AGO, probe_at=timezone.now()
        )
        assert sweeps.held() == 0

    def test_without_a_clock_nothing_is_released_lest_all_go_at_once(
        self, make_endpoint: MakeEndpoint, configure: Configure
    ) -> None:
        held(make_endpoint("a"), 5)
        configure(REDIS_URL="redis://127.0.0.1:9/0")
        assert sweeps.held() == 0


class TestDue:
    def test_retries_that_are_due_at_once_come_one_after_another(
        self, make_endpoint: MakeEndpoint, queue: Queue
    ) -> None:
        deliveries = held(make_endpoint("a"), 30)
        Delivery.objects.update(state="waiting", next_attempt_at=AGO)
        queue.purge()
        assert [sweeps.due(), sweeps.due()] == [30, 0]
        found = waits(deliveries)
        assert sum(wait > 0.05 for wait in found) == pytest.approx(20, abs=3)
        assert max(found) == pytest.approx(2.0, abs=0.7)
        assert queue.deliveries() == set(deliveries)

    def test_those_beyond_a_countdown_are_parked_until_their_turn(
        self, make_endpoint: MakeEndpoint, configure: Configure, queue: Queue
    ) -> None:
        configure(RELEASE_RATE="1/m", RETRY_COUNTDOWN_MAX=90)
        deliveries = held(make_endpoint("a"), 4)
        Delivery.objects.update(state="waiting", next_attempt_at=AGO)
        queue.purge()
        sweeps.due()
        assert len(queue.deliveries()) == 2
        parked = Delivery.objects.filter(pk__in=deliveries, rung_at=None)
        assert [one.next_attempt_at > timezone.now() for one in parked if one.next_attempt_at] == [
            True,
            True,
        ]


def test_what_is_held_for_a_disabled_endpoint_for_too_long_says_so(
    make_endpoint: MakeEndpoint, configure: Configure
) -> None:
    held(make_endpoint("a"), 1)
    Endpoint.objects.update(state="disabled")
    configure(HELD_RETENTION=-1)
    assert sweeps.held_too_long() == 1
    letter = DeadLetter.objects.get()
    assert letter.reason == "endpoint_disabled"
    assert letter.last_error == "Its endpoint was disabled for too long."


def test_what_is_held_for_an_open_circuit_for_too_long_says_so(
    make_endpoint: MakeEndpoint, configure: Configure
) -> None:
    held(make_endpoint("a"), 1)
    Endpoint.objects.update(circuit="open", openings=1, circuit_opened_at=AGO, probe_at=AGO)
    configure(HELD_RETENTION=-1)
    assert sweeps.held_too_long() == 1
    assert DeadLetter.objects.get().last_error == "Its endpoint failed for too long."


def test_a_sweep_takes_no_more_statements_for_many_endpoints(
    make_endpoint: MakeEndpoint, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        held(make_endpoint(f"type.{number}"), 2)
    with django_assert_max_num_queries(4):
        assert sweeps.held() == 40
