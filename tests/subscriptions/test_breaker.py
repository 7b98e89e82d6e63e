import os
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, connection
from django.utils import timezone

from subscriptions import breaker
from subscriptions.breaker import Probed, Result, Tallies
from subscriptions.circuit import Tally
from subscriptions.ids import to_uuid
from subscriptions.models import Endpoint
from tests.conftest import Configure, MakeEndpoint
from tests.processes import wait_until

REDIS_URL = os.environ["REDIS_URL"]

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def thresholds(configure: Configure) -> None:
    configure(CIRCUIT_RESULTS=4, CIRCUIT_FAILURE_RATE=0.5, CIRCUIT_WAIT=30, CIRCUIT_WAIT_MAX=100)


def results(endpoint: Endpoint, *failed: bool, retry_after: float = 0.0) -> list[Result]:
    return [Result(to_uuid(endpoint.pk), one, retry_after) for one in failed]


def seconds_to_probe(endpoint: Endpoint) -> float:
    endpoint.refresh_from_db()
    assert endpoint.probe_at is not None
    return (endpoint.probe_at - timezone.now()).total_seconds()


def half_open(endpoint: Endpoint, openings: int = 1) -> UUID:
    """Let a delivery that is not there probe the endpoint."""
    probe = uuid4()
    Endpoint.objects.filter(pk=endpoint.pk).update(
        circuit="half_open", circuit_opened_at=timezone.now(), openings=openings, probe=probe
    )
    return probe


class TestCount:
    def test_too_many_failures_open_the_circuit(self, make_endpoint: MakeEndpoint) -> None:
        endpoint, other = make_endpoint(), make_endpoint()
        breaker.count([*results(endpoint, True, True, True), *results(other, True, False)])
        endpoint.refresh_from_db()
        assert (endpoint.circuit, endpoint.takes_deliveries) == ("closed", True)
        breaker.count(results(endpoint, True))
        assert 29 < seconds_to_probe(endpoint) <= 36
        assert (endpoint.circuit, endpoint.openings, endpoint.takes_deliveries) == (
            "open",
            1,
            False,
        )
        other.refresh_from_db()
        assert other.circuit == "closed"

    def test_enough_successes_keep_it_closed(self, make_endpoint: MakeEndpoint) -> None:
        endpoint = make_endpoint()
        breaker.count(results(endpoint, *[False] * 10))
        breaker.count(results(endpoint, *[True] * 9))
        endpoint.refresh_from_db()
        assert endpoint.circuit == "closed"

    def test_an_endpoint_that_asks_to_be_left_alone_is(self, make_endpoint: MakeEndpoint) -> None:
        endpoint = make_endpoint()
        breaker.count(results(endpoint, *[True] * 4, retry_after=500))
        assert 490 < seconds_to_probe(endpoint) <= 500

    @pytest.mark.parametrize("state", ["paused", "disabled", "unverified"])
    def test_one_that_is_at_rest_anyway_is_left_as_it_is(
        self, make_endpoint: MakeEndpoint, state: str
    ) -> None:
        endpoint = make_endpoint(state=state)
        breaker.count(results(endpoint, *[True] * 4))
        endpoint.refresh_from_db()
        assert endpoint.circuit == "closed"

    def test_what_was_in_flight_when_it_opened_does_not_count(
        self, make_endpoint: MakeEndpoint
    ) -> None:
        endpoint = make_endpoint()
        breaker.count(results(endpoint, *[True] * 4))
        endpoint.refresh_from_db()
        endpoint.close_circuit()
        breaker.count(results(endpoint, *[True] * 4))
        endpoint.refresh_from_db()
        assert endpoint.circuit == "closed"

    def test_without_redis_no_circuit_opens(
        self, make_endpoint: MakeEndpoint, configure: Configure
    ) -> None:
        configure(REDIS_URL="redis://127.0.0.1:9/0")
        endpoint = make_endpoint()
        breaker.count(results(endpoint, *[True] * 10))
        endpoint.refresh_from_db()
        assert endpoint.circuit == "closed"

    def test_nought_turns_it_off(self, make_endpoint: MakeEndpoint, configure: Configure) -> None:
        configure(CIRCUIT_FAILURE_RATE=0)
        endpoint = make_endpoint()
        breaker.count(results(endpoint, *[True] * 10))
        endpoint.refresh_from_db()
        assert endpoint.circuit == "closed"


class TestTallies:
    def test_all_processes_add_to_one(self) -> None:
        endpoint = uuid4()
        for _ in range(3):
            tally = Tallies(REDIS_URL).add({endpoint: Tally(2, 1)}, window=1000.0)
        assert tally[endpoint].failures in (3, pytest.approx(3, abs=1))
        assert tally[endpoint].successes == pytest.approx(2 * tally[endpoint].failures)

    def test_they_are_forgotten_after_their_window(self) -> None:
        endpoint, tallies = uuid4(), Tallies(REDIS_URL)
        tallies.add({endpoint: Tally(0, 100)}, window=0.1)
        wait_until(
            lambda: tallies.add({endpoint: Tally(0, 0)}, window=0.1)[endpoint].failures == 0,
            "the window to pass",
        )

    def test_nothing_is_left_behind(self) -> None:
        endpoint, tallies = uuid4(), Tallies(REDIS_URL)
        tallies.add({endpoint: Tally(1, 1)}, window=0.1)
        key = f"angarium:circuit:{endpoint.hex}"
        wait_until(lambda: not tallies.client.exists(key), "the tally to expire")


class TestSettle:
    def test_a_success_closes_the_circuit(self, make_endpoint: MakeEndpoint) -> None:
        endpoint = make_endpoint()
        probe = half_open(endpoint, openings=3)
        breaker.settle([Probed(to_uuid(endpoint.pk), probe, 3, failed=False)])
        endpoint.refresh_from_db()
        assert (endpoint.circuit, endpoint.openings, endpoint.probe) == ("closed", 0, None)
        assert endpoint.circuit_opened_at is None

    def test_a_failure_opens_it_again_for_longer(self, make_endpoint: MakeEndpoint) -> None:
        endpoint = make_endpoint()
        opened = timezone.now() - timedelta(hours=1)
        probe = half_open(endpoint)
        Endpoint.objects.update(circuit_opened_at=opened)
        breaker.settle([Probed(to_uuid(endpoint.pk), probe, 1, failed=True)])
        assert 59 < seconds_to_probe(endpoint) <= 72
        assert (endpoint.circuit, endpoint.openings, endpoint.probe) == ("open", 2, None)
        assert endpoint.circuit_opened_at == opened

    def test_where_nothing_is_known_the_next_probes_at_once(
        self, make_endpoint: MakeEndpoint
    ) -> None:
        endpoint = make_endpoint()
        probe = half_open(endpoint, openings=2)
        breaker.settle([Probed(to_uuid(endpoint.pk), probe, 2, failed=None)])
        assert seconds_to_probe(endpoint) <= 0
        assert (endpoint.circuit, endpoint.openings) == ("open", 2)

    def test_a_delivery_that_is_not_the_probe_settles_nothing(
        self, make_endpoint: MakeEndpoint
    ) -> None:
        endpoint = make_endpoint()
        half_open(endpoint)
        breaker.settle([Probed(to_uuid(endpoint.pk), uuid4(), 1, failed=False)])
        endpoint.refresh_from_db()
        assert endpoint.circuit == "half_open"


@pytest.mark.parametrize(
    "columns",
    [
        {"circuit": "open"},
        {"circuit": "half_open", "openings": 1},
        {"circuit": "ajar"},
        {"openings": 1},
        {"probe_at": timezone.now()},
        {"failure_warning": 50},
        {"failure_warning": 60, "failing_since": timezone.now()},
        {"rate": "fast"},
        {"burst": 5},
        {"rate": "5/s", "burst": 0},
    ],
)
def test_the_database_holds_what_goes_together(
    make_endpoint: MakeEndpoint, columns: dict[str, object]
) -> None:
    make_endpoint()
    with pytest.raises(IntegrityError):
        Endpoint.objects.update(**columns)
    connection.set_rollback(True)


def test_to_resume_an_endpoint_makes_it_as_new(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint(state="disabled", failing_since=timezone.now(), failure_warning=90)
    half_open(endpoint, openings=4)
    endpoint.refresh_from_db()
    endpoint.resume()
    endpoint.refresh_from_db()
    assert (endpoint.state, endpoint.circuit, endpoint.openings) == ("active", "closed", 0)
    assert (endpoint.failing_since, endpoint.failure_warning) == (None, 0)
    assert endpoint.takes_deliveries
