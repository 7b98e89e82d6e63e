import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from deliveries import operations, ordering, sweeps
from deliveries.emit import InvalidEvent, emit
from deliveries.fan_out import fan_out_chunk
from deliveries.models import Attempt, DeadLetter, Delivery, Event
from deliveries.pipeline import Claim, claim, record
from subscriptions.ids import from_uuid, to_uuid
from subscriptions.models import Endpoint
from tests.conftest import Configure, MakeEndpoint, Queue
from tests.deliveries.conftest import age
from tests.processes import wait_until
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


def in_turn(first: str) -> list[str]:
    """Deliver one, whoever follows it, and so on; returns them in their order."""
    order, following = [], [first]
    while following:
        order += following
        following = attempt(following[0], OK)
    return order


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
        assert in_turn(head) == [head, *later[:-1], "dlv_" + "0" * 31 + "1"]

    def test_one_that_is_redriven_waits_its_turn_again(self, endpoint: Endpoint) -> None:
        made = emitted(count=3)
        kill(made[0])
        operations.redrive([to_uuid(made[0])])
        assert states(made) == ["queued", "pending", "queued"]
        assert attempt(made[1], OK) == [made[0]]

    def test_one_that_is_redriven_has_no_turn_where_order_is_not_wanted_any_more(
        self, endpoint: Endpoint
    ) -> None:
        made = emitted(count=2)
        kill(made[0])
        Endpoint.objects.update(ordered=False)
        operations.redrive([to_uuid(made[0])])
        assert states(made) == ["pending", "pending"]

    def test_none_is_redriven_by_itself_when_its_endpoint_works_again(
        self, endpoint: Endpoint
    ) -> None:
        made = emitted(count=2)
        kill(made[0])
        attempt(made[1], OK)
        assert sweeps.recovered_dead_letters() == 0
        assert states(made) == ["dead", "delivered"]

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

    def test_no_event_waits_for_the_fan_out_of_a_later_one(self, chunks: None) -> None:
        first, _ = (emit("made.once", {}, ordering_key="order-1") for _ in range(2))
        while (made := fan_out_chunk(first.pk)) is not None:
            made.announce()
        assert Delivery.objects.filter(state="pending", event=first).count() == 3

    def test_it_waits_no_longer_than_until_that_has_come_by_its_endpoint(
        self, chunks: None
    ) -> None:
        first = emit("made.once", {}, ordering_key="order-1")
        second = emit("made.once", {}, ordering_key="order-1")
        while (made := fan_out_chunk(second.pk)) is not None:
            made.announce()
        reached = fan_out_chunk(first.pk)
        assert reached is not None
        reached.announce()
        for delivery in Delivery.objects.filter(state="pending"):
            attempt(delivery.pk, OK)
        following = Delivery.objects.filter(state="pending", event=second)
        assert {(to_uuid(one.endpoint_id), "order-1") for one in following} == set(reached.queues)
        assert Delivery.objects.filter(state="queued").count() == 1

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

    def test_it_goes_round_so_many_queues_at_a_time(
        self, make_endpoint: MakeEndpoint, configure: Configure
    ) -> None:
        configure(SWEEP_CHUNK=2, SWEEP_CHUNKS=1)
        for _ in range(2):
            make_endpoint(ordered=True)
        for key in ("a", "b") * 2:
            emit("made.once", {}, ordering_key=key)
        heads = Delivery.objects.filter(state="pending").order_by("endpoint_id", "ordering_key")
        Delivery.objects.filter(pk=list(heads)[-1].pk).delete()
        assert [sweeps.queued() for _ in range(4)] == [0, 1, 0, 0]

    def test_it_fills_no_full_queue(
        self, endpoint: Endpoint, configure: Configure, queue: Queue
    ) -> None:
        configure(QUEUE_LIMIT=2)
        for key in ("a", "b", "c") * 2:
            emit("made.once", {}, ordering_key=key)
        Delivery.objects.filter(state="pending").delete()
        queue.purge()
        assert [sweeps.queued(), sweeps.queued()] == [2, 0]
        queue.purge()
        assert sweeps.queued() == 1

    @pytest.mark.parametrize(
        ("change", "state", "rung"),
        [
            ({"ordered": False}, "pending", 3),
            ({"ordered": False, "state": "paused"}, "held", 0),
            ({"state": "deleted"}, "discarded", 0),
        ],
    )
    def test_a_queue_dissolves_where_its_endpoint_wants_no_order_or_is_deleted(
        self, endpoint: Endpoint, queue: Queue, change: dict[str, Any], state: str, rung: int
    ) -> None:
        made = emitted(count=4)
        assert sweeps.dissolved() == 0
        Endpoint.objects.update(**change)
        queue.purge()
        assert sweeps.dissolved() == 3
        assert states(made) == ["pending", state, state, state]
        assert len(queue.deliveries()) == rung


class TestPauses:
    def test_the_head_alone_is_held_and_the_order_stays(self, endpoint: Endpoint) -> None:
        made = emitted(count=3)
        endpoint.pause()
        assert claim([to_uuid(made[0])]) == []
        made += emitted()
        assert ordering.advance([(to_uuid(endpoint.pk), "order-1")]) == []
        for sweep in (sweeps.held, sweeps.dissolved, sweeps.queued):
            assert sweep() == 0
        assert states(made) == ["held", "queued", "queued", "queued"]
        endpoint.resume()
        sweeps.held()
        assert in_turn(made[0]) == made

    def test_what_an_endpoint_at_rest_misses_is_held_and_nobody_told(
        self, endpoint: Endpoint, queue: Queue
    ) -> None:
        endpoint.pause()
        assert states(emitted(count=2)) == ["held", "queued"]
        assert queue.messages() == []

    def test_what_waits_behind_it_too_long_is_dead_with_it(
        self, endpoint: Endpoint, configure: Configure
    ) -> None:
        endpoint.pause()
        made = emitted(count=3)
        configure(HELD_RETENTION=-1)
        assert sweeps.held_too_long() == 3
        assert states(made) == ["dead"] * 3

    def test_what_waits_for_an_endpoint_at_work_does_not_expire(
        self, endpoint: Endpoint, configure: Configure
    ) -> None:
        emitted(count=3)
        configure(HELD_RETENTION=-1)
        assert sweeps.held_too_long() == 0


def waiting_for_locks() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(cursor.fetchone()[0])


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

    def test_nobody_waits_for_a_transaction_that_discards_the_head(
        self, endpoint: Endpoint
    ) -> None:
        made = emitted(count=3)
        discarded, recorded = threading.Event(), threading.Event()

        def work(number: int) -> None:
            if number == 0:
                with transaction.atomic():
                    operations.discard([to_uuid(made[1])])
                    discarded.set()
                    assert recorded.wait(20)
            else:
                assert discarded.wait(20)
                assert attempt(made[0], OK) == []
                recorded.set()

        in_threads(work, 2)
        assert states(made) == ["delivered", "discarded", "pending"]

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

    def test_two_that_see_different_heads_do_not_get_in_each_other_s_way(
        self, endpoint: Endpoint
    ) -> None:
        queue = (to_uuid(endpoint.pk), "order-1")
        drawn, queued, moved = (threading.Event() for _ in range(3))

        def late() -> list[UUID]:
            with transaction.atomic():
                emit("made.once", {}, ordering_key="order-1")
                drawn.set()
                assert moved.wait(20)
            return []

        def first() -> list[UUID]:
            assert queued.wait(20)
            with transaction.atomic():
                found = ordering.advance([queue])
                moved.set()
                wait_until(lambda: waiting_for_locks() == 2, "the others")
            return found

        def second() -> list[UUID]:
            assert drawn.wait(20)
            ended, *_ = emitted(count=2)
            Delivery.objects.filter(pk=ended).update(state="delivered", ended_at=timezone.now())
            queued.set()
            assert moved.wait(20)
            wait_until(lambda: waiting_for_locks() == 1, "the one that is late")
            return ordering.advance([queue])

        found = in_threads(lambda number: (late, first, second)[number](), 3)
        head = Delivery.objects.get(state="pending")
        assert found == [[], [to_uuid(head.pk)], []]


places = st.integers(0, 5)


class AnyCase(RuleBasedStateMachine):
    """What may become of one endpoint's queues, one thing after another."""

    def __init__(self) -> None:
        super().__init__()
        for model in (Attempt, DeadLetter, Delivery, Event):
            model.objects.all().delete()
        Endpoint.objects.update(state="active")
        self.redriven: set[str] = set()

    @rule(key=st.sampled_from(["a", "b", None]))
    def an_event_comes(self, key: str | None) -> None:
        emit("made.once", {}, ordering_key=key)

    @rule(place=places, outcome=st.sampled_from([OK, OK, BROKEN]))
    def one_is_attempted(self, place: int, outcome: Outcome) -> None:
        for ours in self.claimed(place):
            record([(ours.lease, outcome)])

    @rule(place=places)
    def one_is_claimed_by_a_worker_that_dies(self, place: int) -> None:
        for ours in self.claimed(place):
            delivery = Delivery.objects.get(pk=from_uuid("dlv", ours.lease.delivery))
            age(delivery, "lease_expires_at", 1)
            sweeps.stuck()

    @rule(place=places)
    def one_ends_and_nobody_tells(self, place: int) -> None:
        for delivery in self.one(place, state="pending"):
            delivery.update(state="discarded", ended_at=timezone.now())

    @rule(place=places)
    def one_is_discarded(self, place: int) -> None:
        for delivery in self.one(place, ended_at=None):
            operations.discard([to_uuid(delivery.get().pk)])

    @rule(place=places)
    def one_is_redriven(self, place: int) -> None:
        for delivery in self.one(place, state="dead"):
            self.redriven.add(delivery.get().pk)
            operations.redrive([to_uuid(delivery.get().pk)])

    @rule()
    def the_endpoint_is_paused(self) -> None:
        Endpoint.objects.update(state="paused")

    @rule()
    def the_endpoint_is_resumed(self) -> None:
        Endpoint.objects.update(state="active")

    @rule()
    def the_sweeps_come_by(self) -> None:
        for sweep in (sweeps.held, sweeps.dissolved, sweeps.queued):
            sweep()

    def one(self, place: int, **having: Any) -> list[QuerySet[Delivery]]:
        """One of the deliveries that have all that, if any has."""
        found = Delivery.objects.filter(**having).order_by("id").values_list("pk", flat=True)
        return [Delivery.objects.filter(pk=found[place % len(found)])] if found else []

    def claimed(self, place: int) -> list[Claim]:
        """One that is ready, unless its endpoint rests; none before it may still be on its way."""
        claims = []
        for found in self.one(place, state__in=["pending", "waiting"]):
            delivery = found.get()
            age(delivery, "next_attempt_at", 1)
            claims = claim([to_uuid(delivery.pk)])
            if claims and delivery.ordering_key is not None:
                before = Delivery.objects.filter(
                    ordering_key=delivery.ordering_key,
                    ordinal__lt=delivery.ordinal,
                    ended_at=None,
                )
                assert set(before.values_list("pk", flat=True)) <= self.redriven
        return claims

    def teardown(self) -> None:
        """In the end none is left behind."""
        self.the_endpoint_is_resumed()
        while Delivery.objects.filter(ended_at=None).exists():
            self.the_sweeps_come_by()
            assert Delivery.objects.filter(state__in=["pending", "waiting"]).exists()
            self.one_is_attempted(0, OK)


def test_whatever_happens_a_key_s_events_go_in_order_and_none_stays_behind(
    endpoint: Endpoint, configure: Configure
) -> None:
    configure(RELEASE_RATE="10000/s")  # what is held is not to wait for its turn here
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        AnyCase, settings=settings(max_examples=40, stateful_step_count=30, deadline=None)
    )


def test_where_nobody_asks_for_order_a_key_costs_nothing(
    make_endpoint: MakeEndpoint, django_assert_num_queries: Any
) -> None:
    make_endpoint()
    emit("made.once", {})  # the catalogue is read once, and known from then on
    with django_assert_num_queries(2):
        event = emit("made.once", {}, ordering_key="order-1")
    delivery = Delivery.objects.get(event=event)
    assert (delivery.state, delivery.ordering_key, delivery.ordinal) == ("pending", None, None)
