"""What becomes of deliveries whose endpoint's circuit opens, is probed and closes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from deliveries import operations, sweeps
from deliveries.emit import emit
from deliveries.models import Attempt, DeadLetter, Delivery
from deliveries.pipeline import Lease, claim, record
from subscriptions.ids import to_uuid
from subscriptions.models import Endpoint
from tests.conftest import Configure, MakeEndpoint, Queue
from tests.deliveries.conftest import states
from webhooks.sending.outcome import Outcome, OutcomeKind

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("queue")]

AGO = timezone.now() - timedelta(hours=1)
DELIVERED = Outcome(kind=OutcomeKind.DELIVERED, status=200)
FAILED = Outcome(kind=OutcomeKind.REJECTED, status=500, error="answered 500")
PROXY_FAILED = Outcome(kind=OutcomeKind.PROXY_FAILED, error="no tunnel")


@pytest.fixture(autouse=True)
def thresholds(configure: Configure) -> None:
    configure(CIRCUIT_RESULTS=3, CIRCUIT_WAIT=30, RETRY_SCHEDULE=[10, 1000], JITTER=0)


def emitted(count: int) -> list[str]:
    return [emit("invoice.paid", {}).deliveries.get().pk for _ in range(count)]


def take(*deliveries: str) -> list[Lease]:
    return [ours.lease for ours in claim([to_uuid(one) for one in deliveries])]


def break_down(count: int = 3) -> list[str]:
    """Let so many attempts fail, at once."""
    deliveries = emitted(count)
    record([(lease, FAILED) for lease in take(*deliveries)])
    return deliveries


def probe_is_due() -> None:
    Endpoint.objects.filter(circuit="open").update(probe_at=AGO)


def circuit() -> str:
    return Endpoint.objects.get().circuit


def under_way() -> list[str]:
    found = Delivery.objects.filter(state__in=["pending", "sending"]).order_by("pk")
    return list(found.values_list("pk", flat=True))


class TestOpening:
    def test_failures_open_it_and_what_follows_is_held_and_uses_up_no_attempt(
        self, make_endpoint: MakeEndpoint
    ) -> None:
        make_endpoint()
        before = emitted(1)
        break_down()
        assert circuit() == "open"
        assert take(*before) == []
        after = emitted(1)
        found = Delivery.objects.filter(pk__in=[*before, *after])
        assert set(found.values_list("state", "attempt_number")) == {("held", 0)}

    def test_a_retry_that_comes_due_meanwhile_is_held(self, make_endpoint: MakeEndpoint) -> None:
        make_endpoint()
        [first, *_] = break_down()
        Delivery.objects.update(next_attempt_at=AGO)
        assert take(first) == []
        delivery = Delivery.objects.get(pk=first)
        assert (delivery.state, delivery.attempt_number) == ("held", 1)

    def test_the_fault_of_a_proxy_or_a_worker_is_not_the_endpoint_s(
        self, make_endpoint: MakeEndpoint
    ) -> None:
        make_endpoint()
        record([(lease, PROXY_FAILED) for lease in take(*emitted(5))])
        assert circuit() == "closed"

    def test_a_batch_that_was_too_large_says_nothing(self, make_endpoint: MakeEndpoint) -> None:
        make_endpoint(batch_events=2)
        leads = []
        for _ in range(4):
            lead, member = emitted(2)
            Delivery.objects.filter(pk=member).update(state="batched", lead=lead)
            Delivery.objects.filter(pk=lead).update(state="pending", batch_size=2)
            leads.append(lead)
        too_large = Outcome(kind=OutcomeKind.REJECTED, status=413)
        record([(lease, too_large) for lease in take(*leads)])
        assert circuit() == "closed"

    def test_nothing_gathers_for_it(self, make_endpoint: MakeEndpoint) -> None:
        make_endpoint(batch_events=10)
        gathering = emitted(1)
        Endpoint.objects.update(
            circuit="open", openings=1, circuit_opened_at=timezone.now(), probe_at=timezone.now()
        )
        held = emitted(1)
        sweeps.gathered()
        assert set(states().values()) == {"held"}
        assert set(states()) == {*gathering, *held}

    def test_the_head_of_a_queue_is_held(self, make_endpoint: MakeEndpoint) -> None:
        make_endpoint(ordered=True)
        break_down()
        event = emit("invoice.paid", {}, ordering_key="a")
        sweeps.queued()
        assert states()[event.deliveries.get().pk] == "held"


class TestProbing:
    @pytest.fixture(autouse=True)
    def broken(self, make_endpoint: MakeEndpoint, queue: Queue) -> None:
        make_endpoint()
        break_down()
        queue.purge()

    def test_nothing_goes_before_it_is_time(self) -> None:
        emitted(2)
        assert sweeps.probes() == 0
        assert under_way() == []

    def test_then_the_oldest_goes_and_it_alone(self, queue: Queue) -> None:
        first, second = emitted(2)
        probe_is_due()
        assert [sweeps.probes(), sweeps.probes()] == [1, 0]
        assert queue.deliveries() == {first}
        assert circuit() == "half_open"
        [lease] = take(first, second)
        assert lease.delivery == to_uuid(first)
        assert states()[second] == "held"

    def test_its_success_closes_the_circuit_and_releases_the_others(self) -> None:
        first, second = emitted(2)
        probe_is_due()
        sweeps.probes()
        record([(lease, DELIVERED) for lease in take(first)])
        assert circuit() == "closed"
        sweeps.held()
        assert states()[second] == "pending"

    def test_its_failure_opens_it_for_longer_and_has_used_up_an_attempt(self) -> None:
        [first] = emitted(1)
        probe_is_due()
        sweeps.probes()
        record([(lease, FAILED) for lease in take(first)])
        endpoint = Endpoint.objects.get()
        assert (endpoint.circuit, endpoint.openings) == ("open", 2)
        assert Attempt.objects.filter(delivery=first).count() == 1
        assert sweeps.probes() == 0

    def test_where_nothing_is_held_the_next_event_probes(self) -> None:
        probe_is_due()
        assert sweeps.probes() == 0
        assert circuit() == "open"
        [first] = emitted(1)
        assert sweeps.probes() == 1
        assert under_way() == [first]

    def test_one_whose_worker_died_makes_room_for_another(self) -> None:
        first, second = emitted(2)
        probe_is_due()
        sweeps.probes()
        take(first)
        Delivery.objects.filter(pk=first).update(lease_expires_at=AGO)
        sweeps.stuck()
        assert sweeps.probes() == 1
        assert under_way() == [second]

    def test_one_that_says_nothing_of_the_endpoint_makes_room_for_another(self) -> None:
        first, second = emitted(2)
        probe_is_due()
        sweeps.probes()
        record([(lease, PROXY_FAILED) for lease in take(first)])
        assert sweeps.probes() == 1
        assert under_way() == [second]
        assert Endpoint.objects.get().openings == 1

    def test_one_that_a_person_discards_makes_room_for_another(self) -> None:
        first, second = emitted(2)
        probe_is_due()
        sweeps.probes()
        operations.discard([to_uuid(first)])
        assert sweeps.probes() == 1
        assert under_way() == [second]

    def test_one_whose_message_is_lost_is_rung_for_again(self, queue: Queue) -> None:
        [first] = emitted(1)
        probe_is_due()
        sweeps.probes()
        queue.purge()
        Delivery.objects.filter(pk=first).update(rung_at=AGO)
        sweeps.lost()
        assert queue.deliveries() == {first}

    def test_a_pause_holds_the_probe_too_and_resuming_makes_it_as_new(self) -> None:
        first, second = emitted(2)
        probe_is_due()
        sweeps.probes()
        Endpoint.objects.get().pause()
        assert take(first) == []
        assert sweeps.probes() == 0
        Endpoint.objects.get().resume()
        sweeps.held()
        assert len(take(first, second)) == 2

    def test_a_batch_may_be_the_probe(self) -> None:
        lead, member = emitted(2)
        Delivery.objects.filter(pk=lead).update(batch_size=2)
        Delivery.objects.filter(pk=member).update(state="batched", lead=lead)
        probe_is_due()
        sweeps.probes()
        record([(lease, DELIVERED) for lease in take(lead)])
        assert circuit() == "closed"
        assert states()[member] == "delivered"

    def test_a_late_success_of_what_was_sent_before_closes_nothing(self) -> None:
        Endpoint.objects.get().close_circuit()
        late = take(*emitted(1))
        Endpoint.objects.update(
            circuit="open",
            openings=1,
            circuit_opened_at=timezone.now(),
            probe_at=timezone.now() + timedelta(minutes=1),
        )
        record([(lease, DELIVERED) for lease in late])
        assert circuit() == "open"

    def test_a_probe_that_is_gone_disables_the_endpoint(self) -> None:
        [first] = emitted(1)
        probe_is_due()
        sweeps.probes()
        gone = Outcome(kind=OutcomeKind.REJECTED, status=410, error="answered 410")
        record([(lease, gone) for lease in take(first)])
        assert Endpoint.objects.get().state == "disabled"
        assert sweeps.probes() == 0


@pytest.mark.django_db(transaction=True)
def test_two_sweeps_at_once_let_one_probe_go(make_endpoint: MakeEndpoint) -> None:
    make_endpoint()
    break_down()
    emitted(5)
    probe_is_due()

    def sweep(_: int) -> int:
        try:
            return sweeps.probes()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(sweep, range(4))) == 1
    assert len(under_way()) == 1


def loses_its_worker(probe: str) -> None:
    take(probe)
    Delivery.objects.filter(pk=probe).update(lease_expires_at=AGO)


def meets_a_pause(probe: str) -> None:
    Endpoint.objects.get().pause()
    take(probe)
    Endpoint.objects.update(state="active")


def ends_as(outcome: Outcome) -> Callable[[str], object]:
    return lambda probe: record([(lease, outcome) for lease in take(probe)])


FATES: dict[str, Callable[[str], object]] = {
    "is delivered": ends_as(DELIVERED),
    "fails": ends_as(FAILED),
    "says nothing": ends_as(PROXY_FAILED),
    "is discarded": lambda probe: operations.discard([to_uuid(probe)]),
    "loses its worker": loses_its_worker,
    "meets a pause": meets_a_pause,
}


@hypothesis_settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(fates=st.lists(st.sampled_from(sorted(FATES)), max_size=5))
def test_whatever_becomes_of_probes_another_follows_unless_the_circuit_is_closed(
    make_endpoint: MakeEndpoint, fates: list[str]
) -> None:
    for model in (DeadLetter, Attempt, Delivery):
        model.objects.all().delete()
    endpoint = Endpoint.objects.first() or make_endpoint()
    Endpoint.objects.filter(pk=endpoint.pk).update(
        circuit="open", openings=1, probe=None, circuit_opened_at=AGO, probe_at=AGO
    )
    emitted(len(fates) + 1)
    for fate in [*fates, None]:
        probe_is_due()
        sweeps.stuck()
        sweeps.probes()
        if circuit() == "closed":
            return
        [probe] = under_way()
        if fate is not None:
            FATES[fate](probe)
