import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deliveries import operations, ordering, sweeps
from deliveries.emit import InvalidEvent, emit
from deliveries.fan_out import fan_out_chunk
from deliveries.models import Delivery, Event
from deliveries.pipeline import claim, record
from subscriptions.ids import from_uuid, to_uuid
from subscriptions.models import Endpoint
from tests.conftest import Configure, MakeEndpoint, Queue
from tests.deliveries.conftest import age
from webhooks.sending.outcome import Outcome, OutcomeKind

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("queue")]

OK = Outcome(kind=OutcomeKind.DELIVERED, status=200)
BROKEN = Outcome(kind=OutcomeKind.REJECTED, status=500, error="answered 500")


@pytest.fixture(autouse=True)
def quick(configure: Configure) -> None:
    configure(RETRY_SCHEDULE=[10], JITTER=0)


@pytest.fixture
def endpoint(make_endpoint: MakeEndpoint) -> Endpoint:
    return make_endpoint(ordered=True)


def emitted(key: str | None = "order-1", count: int = 1) -> list[str]:
    """The deliveries of so many events of a key, to the one endpoint there is."""
    events = [emit("made.once", {}, ordering_key=key) for _ in range(count)]
    return [Delivery.objects.get(event=event).pk for event in events]


def states(deliveries: list[str]) -> list[str]:
    return [Delivery.objects.get(pk=one).state for one in deliveries]


def attempt(delivery: str, outcome: Outcome) -> list[str]:
    """Claim a delivery and record an outcome; returns who is to be rung for."""
    [ours] = claim([to_uuid(delivery)])
    return [from_uuid("dlv", one) for one in record([(ours.lease, outcome)])]


def kill(delivery: str) -> list[str]:
    attempt(delivery, BROKEN)
    age(Delivery.objects.get(pk=delivery), "next_attempt_at", 1)
    return attempt(delivery, BROKEN)


class TestTheQueue:
    def test_the_first_goes_and_the_others_wait_behind_it(
        self, endpoint: Endpoint, queue: Queue
    ) -> None:
        made = emitted(count=3)
        assert states(made) == ["pending", "queued", "queued"]
        assert queue.deliveries() == {made[0]}

    def test_the_next_goes_when_it_has_arrived(self, endpoint: Endpoint) -> None:
        made = emitted(count=3)
        assert attempt(made[0], OK) == [made[1]]
        assert states(made) == ["delivered", "pending", "queued"]

    def test_one_that_fails_holds_its_key_back_until_it_is_dead(self, endpoint: Endpoint) -> None:
        made = emitted(count=2)
        assert attempt(made[0], BROKEN) == [made[0]]
        assert states(made) == ["waiting", "queued"]
        age(Delivery.objects.get(pk=made[0]), "next_attempt_at", 1)
        assert attempt(made[0], BROKEN) == [made[1]]
        assert states(made) == ["dead", "pending"]

    def test_it_holds_back_no_other_key(self, endpoint: Endpoint) -> None:
        made = [*emitted("order-1"), *emitted("order-2"), *emitted(None, count=2)]
        attempt(made[0], BROKEN)
        assert states(made) == ["waiting", "pending", "pending", "pending"]

    def test_each_endpoint_has_a_queue_of_its_own(self, make_endpoint: MakeEndpoint) -> None:
        quick, slow, unordered = (make_endpoint(ordered=wish) for wish in (True, True, False))
        for _ in range(2):
            emit("made.once", {}, ordering_key="order-1")
        first = Delivery.objects.filter(endpoint=quick).earliest("id")
        attempt(first.pk, OK)
        found: dict[str, list[str]] = defaultdict(list)
        for endpoint, state in Delivery.objects.order_by("id").values_list("endpoint", "state"):
            found[endpoint].append(state)
        assert found == {
            quick.pk: ["delivered", "pending"],
            slow.pk: ["pending", "queued"],
            unordered.pk: ["pending", "pending"],
        }

    def test_order_is_that_of_the_sequence_and_not_of_anybody_s_clock(
        self, endpoint: Endpoint
    ) -> None:
        head, *later = emitted(count=4)
        # As if the producer of the last had a clock that is far behind.
        last = Delivery.objects.get(pk=later[-1])
        Delivery.objects.filter(pk=last.pk).update(id="dlv_" + "0" * 31 + "1")
        order = []
        todo = [head]
        while todo:
            order += todo
            todo = attempt(todo[0], OK)
        assert order == [head, *later[:-1], "dlv_" + "0" * 31 + "1"]

    def test_one_that_is_redriven_waits_its_turn_again(self, endpoint: Endpoint) -> None:
        made = emitted(count=3)
        kill(made[0])
        operations.redrive([to_uuid(made[0])])
        assert states(made) == ["queued", "pending", "queued"]
        assert attempt(made[1], OK) == [made[0]]

    def test_when_one_is_discarded_the_next_goes(self, endpoint: Endpoint, queue: Queue) -> None:
        made = emitted(count=3)
        queue.purge()
        operations.discard([to_uuid(made[0])])
        assert states(made) == ["discarded", "pending", "queued"]
        assert queue.deliveries() == {made[1]}

    def test_the_database_lets_no_two_of_a_key_be_under_way(self, endpoint: Endpoint) -> None:
        made = emitted(count=2)
        with pytest.raises(IntegrityError), transaction.atomic():
            Delivery.objects.filter(pk=made[1]).update(state="pending")

    def test_order_and_batches_do_not_go_together(self, make_endpoint: MakeEndpoint) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            make_endpoint(ordered=True, batch_events=10)

    @pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "\0"])
    def test_a_key_that_is_none_is_refused(self, endpoint: Endpoint, key: str) -> None:
        with pytest.raises(InvalidEvent, match="ordering_key must have 1 to 255"):
            emit("made.once", {}, ordering_key=key)


class TestFanOut:
    @pytest.fixture
    def chunks(self, configure: Configure, make_endpoint: MakeEndpoint) -> None:
        configure(FAN_OUT_INLINE_LIMIT=0, FAN_OUT_CHUNK=2)
        for _ in range(3):
            make_endpoint(ordered=True)

    def test_no_event_overtakes_one_that_is_still_being_fanned_out(self, chunks: None) -> None:
        first = emit("made.once", {}, ordering_key="order-1")
        second = emit("made.once", {}, ordering_key="order-1")
        for event in (second, first):
            while (made := fan_out_chunk(event.pk)) is not None:
                made.announce()
        pending = Delivery.objects.filter(state="pending")
        assert set(pending.values_list("event", flat=True)) == {first.pk}
        assert pending.count() == 3

    def test_what_waited_for_an_event_that_did_not_come_is_released_by_the_sweep(
        self, chunks: None
    ) -> None:
        first = emit("made.once", {}, ordering_key="order-1")
        second = emit("made.once", {}, ordering_key="order-1")
        while (made := fan_out_chunk(second.pk)) is not None:
            made.announce()
        assert sweeps.queued() == 0
        Event.objects.filter(pk=first.pk).delete()
        assert sweeps.queued() == 3


class TestSweep:
    def test_it_moves_up_what_nobody_was_there_to_move(
        self, endpoint: Endpoint, queue: Queue
    ) -> None:
        made = emitted(count=2)
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE deliveries_delivery SET state = 'delivered', ended_at = now()"
                " WHERE state = 'pending'"
            )
        queue.purge()
        assert sweeps.queued() == 1
        assert queue.deliveries() == {made[1]}
        assert sweeps.queued() == 0

    def test_it_looks_at_every_queue(self, make_endpoint: MakeEndpoint) -> None:
        for _ in range(2):
            make_endpoint(ordered=True)
        for key in ("a", "b", "c") * 2:
            emit("made.once", {}, ordering_key=key)
        Delivery.objects.filter(state="pending").delete()
        assert sweeps.queued() == 6

    @pytest.mark.parametrize(
        ("change", "state"),
        [
            ({"ordered": False}, "pending"),
            ({"state": "paused"}, "held"),
            ({"state": "deleted"}, "discarded"),
        ],
    )
    def test_a_queue_dissolves_where_its_endpoint_has_changed(
        self, endpoint: Endpoint, change: dict[str, Any], state: str
    ) -> None:
        made = emitted(count=4)
        Endpoint.objects.update(**change)
        sweeps.queued()
        assert states(made) == ["pending", state, state, state]

    def test_after_a_pause_the_order_is_as_it_was(
        self, endpoint: Endpoint, configure: Configure
    ) -> None:
        made = emitted(count=4)
        Endpoint.objects.update(state="paused")
        claim([to_uuid(made[0])])
        sweeps.queued()
        made += emitted(count=1)
        assert states(made) == ["held"] * 4 + ["queued"]
        sweeps.queued()
        Endpoint.objects.update(state="active")
        sweeps.held()
        sweeps.queued()
        order = []
        todo = [Delivery.objects.get(state="pending").pk]
        while todo:
            order += todo
            todo = attempt(todo[0], OK)
        assert order == made


def in_threads(work: Any, count: int) -> list[Any]:
    def run(number: int) -> Any:
        try:
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


class TestManyAtOnce:
    def test_who_writes_and_who_ends_never_miss_each_other(self, endpoint: Endpoint) -> None:
        def work(number: int) -> None:
            if number % 2:
                for _ in range(15):
                    emit("made.once", {}, ordering_key="order-1")
                return
            for _ in range(60):
                for delivery in Delivery.objects.filter(state="pending"):
                    with suppress(ValueError):  # another has claimed it
                        attempt(delivery.pk, OK)

        in_threads(work, 4)
        while pending := Delivery.objects.filter(state="pending").first():
            attempt(pending.pk, OK)
        assert Delivery.objects.filter(state="delivered").count() == 30

    def test_one_moves_up_however_many_look(self, endpoint: Endpoint) -> None:
        emitted(count=5)
        Delivery.objects.filter(state="pending").delete()
        pair = (to_uuid(endpoint.pk), "order-1")
        moved = in_threads(lambda _: ordering.advance([pair]), 6)
        assert sum(len(some) for some in moved) == 1

    def test_an_event_that_is_committed_late_waits_for_those_that_went_before(
        self, endpoint: Endpoint
    ) -> None:
        written, overtaken = threading.Event(), threading.Event()

        def work(number: int) -> None:
            if number == 0:
                with transaction.atomic():
                    emit("made.once", {"n": "late"}, ordering_key="order-1")
                    written.set()
                    assert overtaken.wait(20)
            else:
                assert written.wait(20)
                emit("made.once", {"n": "early"}, ordering_key="order-1")
                overtaken.set()

        in_threads(work, 2)
        late, early = Delivery.objects.order_by("ordinal")
        assert (late.event.data, early.event.data) == ({"n": "late"}, {"n": "early"})
        assert (late.state, early.state) == ("queued", "pending")
        assert attempt(early.pk, OK) == [late.pk]


@pytest.fixture
def fresh(endpoint: Endpoint) -> Iterator[Endpoint]:
    yield endpoint
    Delivery.objects.all().delete()


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("emit"), st.sampled_from("ab")),
            st.tuples(st.sampled_from(["arrive", "fail", "discard"]), st.integers(0, 3)),
        ),
        max_size=25,
    )
)
def test_whatever_happens_a_key_s_events_arrive_in_order_and_none_stays_behind(
    fresh: Endpoint, steps: list[tuple[str, Any]]
) -> None:
    Delivery.objects.all().delete()
    order: dict[str, list[str]] = defaultdict(list)
    ended: dict[str, list[str]] = defaultdict(list)

    def take(what: str, place: int) -> None:
        ready = list(Delivery.objects.filter(state="pending").order_by("id"))
        if not ready:
            return
        one = ready[place % len(ready)]
        ended[str(one.ordering_key)].append(one.pk)
        if what == "discard":
            operations.discard([to_uuid(one.pk)])
        elif what == "fail":
            kill(one.pk)
        else:
            attempt(one.pk, OK)

    for what, detail in steps:
        if what == "emit":
            order[detail] += emitted(detail)
        else:
            take(what, detail)
        pending = Delivery.objects.filter(state="pending").values_list("ordering_key", flat=True)
        assert len(pending) == len(set(pending))
    while Delivery.objects.filter(state="pending").exists():
        take("arrive", 0)
    assert ended == {key: made for key, made in order.items() if made}
    assert not Delivery.objects.filter(ended_at=None).exists()


def test_where_nobody_asks_for_order_a_key_costs_nothing(
    make_endpoint: MakeEndpoint, django_assert_num_queries: Any
) -> None:
    make_endpoint()
    with django_assert_num_queries(2):
        event = emit("made.once", {}, ordering_key="order-1")
    delivery = Delivery.objects.get(event=event)
    assert (delivery.state, delivery.ordering_key, delivery.ordinal) == ("pending", None, None)
