import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from deliveries import batching, operations, retention, sweeps
from deliveries.batching import EVENT_OVERHEAD, Gathered, halves, pack
from deliveries.emit import emit
from deliveries.models import Attempt, DeadLetter, Delivery
from deliveries.pipeline import Claim, claim, record
from deliveries.rendering import render
from subscriptions.ids import from_uuid, to_uuid
from subscriptions.models import Endpoint
from tests.conftest import Configure, MakeEndpoint, Queue
from tests.deliveries.conftest import age
from webhooks.sending.outcome import Outcome, OutcomeKind

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("queue")]

OK = Outcome(kind=OutcomeKind.DELIVERED, status=200)
BROKEN = Outcome(kind=OutcomeKind.REJECTED, status=500, error="answered 500")
TOO_LARGE = Outcome(kind=OutcomeKind.REJECTED, status=413, error="answered 413")


@pytest.fixture(autouse=True)
def quick(configure: Configure) -> None:
    configure(RETRY_SCHEDULE=[10], JITTER=0)


@pytest.fixture
def endpoint(make_endpoint: MakeEndpoint) -> Endpoint:
    return make_endpoint(batch_events=3, batch_seconds=5)


def gather(count: int, *, late: bool = True, data: Any = None) -> list[str]:
    """The deliveries of so many events, which have waited long enough or not."""
    made = [
        Delivery.objects.get(event=emit("made.once", data or {"n": number}))
        for number in range(count)
    ]
    if late:
        for delivery in made:
            age(delivery, "created_at", 6)
    return [delivery.pk for delivery in made]


def form(endpoint: Endpoint) -> list[str]:
    return [from_uuid("dlv", lead) for lead in batching.form(to_uuid(endpoint.pk))]


def take(lead: str) -> Claim:
    [ours] = claim([to_uuid(lead)])
    return ours


def attempt(lead: str, outcome: Outcome) -> list[str]:
    """Claim a batch, and record an outcome; returns who is to be rung for."""
    return [from_uuid("dlv", one) for one in record([(take(lead).lease, outcome)])]


def row(delivery: str) -> Delivery:
    return Delivery.objects.get(pk=delivery)


def states(deliveries: Sequence[str]) -> list[str]:
    return [row(one).state for one in deliveries]


def leads() -> dict[str, list[str]]:
    """Who leads whom."""
    found: dict[str, list[str]] = {}
    for one in Delivery.objects.filter(lead__isnull=False).order_by("id"):
        found.setdefault(str(one.lead_id), []).append(one.pk)
    return found


class TestPacking:
    @given(
        sizes=st.lists(st.integers(0, 3000), max_size=60),
        max_events=st.integers(2, 8),
        max_bytes=st.integers(1024, 6000),
    )
    def test_batches_keep_to_both_limits_and_to_the_order_and_are_as_full_as_can_be(
        self, sizes: list[int], max_events: int, max_bytes: int
    ) -> None:
        gathered = [Gathered(uuid4(), size, False) for size in sizes]
        weight = {one.id: one.bytes + EVENT_OVERHEAD for one in gathered}
        batches, _ = pack(gathered, max_events=max_events, max_bytes=max_bytes)
        assert [one for batch in batches for one in batch] == [one.id for one in gathered]
        for batch in batches:
            assert 1 <= len(batch) <= max_events
            assert len(batch) == 1 or sum(weight[one] for one in batch) <= max_bytes
        for batch, following in pairwise(batches):
            together = sum(weight[one] for one in [*batch, following[0]])
            assert len(batch) == max_events or together > max_bytes

    def test_the_last_may_grow_while_it_has_room(self) -> None:
        small = [Gathered(uuid4(), 10, False) for _ in range(3)]
        assert pack(small, max_events=4, max_bytes=10_000)[1]
        assert not pack(small, max_events=3, max_bytes=10_000)[1]
        assert not pack(small, max_events=4, max_bytes=3 * (10 + EVENT_OVERHEAD))[1]
        assert pack([], max_events=4, max_bytes=10_000) == ([], False)

    @given(st.lists(st.uuids(), min_size=2, max_size=50))
    def test_halves_are_two_and_differ_by_one_at_most(self, batch: list[UUID]) -> None:
        first, second = halves(batch)
        assert [*first, *second] == batch
        assert 0 <= len(first) - len(second) <= 1


class TestForming:
    def test_an_event_gathers_until_its_batch_is_formed(
        self, endpoint: Endpoint, queue: Queue
    ) -> None:
        [delivery] = gather(1, late=False)
        assert states([delivery]) == ["gathering"]
        assert queue.deliveries() == set()

    def test_what_is_full_is_formed_and_the_rest_goes_on_waiting(self, endpoint: Endpoint) -> None:
        made = gather(7, late=False)
        assert form(endpoint) == [made[0], made[3]]
        assert leads() == {made[0]: made[1:3], made[3]: made[4:6]}
        assert states(made) == ["pending", "batched", "batched"] * 2 + ["gathering"]
        assert [row(one).batch_size for one in (made[0], made[1], made[6])] == [3, None, None]

    def test_what_has_waited_long_enough_is_formed_though_it_is_not_full(
        self, endpoint: Endpoint
    ) -> None:
        made = gather(2)
        assert form(endpoint) == [made[0]]
        assert states(made) == ["pending", "batched"]

    def test_where_the_wait_is_a_second_what_has_just_come_waits_too(
        self, make_endpoint: MakeEndpoint
    ) -> None:
        endpoint = make_endpoint(batch_events=3, batch_seconds=1)
        made = gather(4, late=False)
        assert form(endpoint) == [made[0]]
        assert states(made)[3] == "gathering"

    def test_one_alone_has_no_members(self, endpoint: Endpoint) -> None:
        [delivery] = gather(1)
        assert form(endpoint) == [delivery]
        assert (row(delivery).state, row(delivery).batch_size) == ("pending", None)

    def test_so_many_bytes_are_a_batch_as_well(self, make_endpoint: MakeEndpoint) -> None:
        endpoint = make_endpoint(batch_events=100, batch_bytes=2048)
        made = gather(5, late=False, data="x" * 700)
        assert form(endpoint) == [made[0], made[2]]
        assert states(made)[4] == "gathering"

    def test_a_backlog_is_formed_chunk_by_chunk(
        self, endpoint: Endpoint, configure: Configure
    ) -> None:
        configure(SWEEP_CHUNK=5)
        made = gather(14)
        assert form(endpoint) == made[0::3]
        assert Delivery.objects.filter(state="batched").count() == 9

    @pytest.mark.parametrize(
        ("change", "state"),
        [
            ({"batch_events": None}, "pending"),
            ({"state": "paused"}, "held"),
            ({"state": "disabled"}, "held"),
            ({"state": "deleted"}, "discarded"),
        ],
    )
    def test_where_the_endpoint_has_changed_its_deliveries_follow(
        self, endpoint: Endpoint, change: dict[str, Any], state: str
    ) -> None:
        made = gather(2, late=False)
        Endpoint.objects.update(**change)
        assert form(endpoint) == (made if state == "pending" else [])
        assert states(made) == [state] * 2

    @pytest.mark.django_db(transaction=True)
    def test_many_at_once_put_each_delivery_into_one_batch(self, endpoint: Endpoint) -> None:
        made = gather(60)

        def work(_: int) -> list[str]:
            try:
                return form(endpoint)
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            formed = [lead for leads in pool.map(work, range(4)) for lead in leads]
        assert len(formed) == len(set(formed))
        members = [one for lead in formed for one in (lead, *leads().get(lead, []))]
        assert sorted(members) == sorted(made)


class TestSending:
    def test_a_batch_is_claimed_with_all_of_its_events(self, endpoint: Endpoint) -> None:
        made = gather(3)
        form(endpoint)
        ours = take(made[0])
        assert [json.loads(event.payload)["n"] for event in ours.events] == [0, 1, 2]
        assert ours.lease.batch_size == 3
        assert claim([to_uuid(one) for one in made]) == []

    def test_its_request_has_an_id_of_its_own_and_those_of_its_events(
        self, endpoint: Endpoint
    ) -> None:
        made = gather(3)
        form(endpoint)
        request = render(take(made[0]), timestamp=1)
        assert request.headers["webhook-id"] == made[0].replace("dlv_", "bat_") + "_0"
        assert [one["id"] for one in json.loads(request.body)["data"]] == [
            row(one).event_id for one in made
        ]

    def test_a_batch_of_one_looks_like_any_other(self, endpoint: Endpoint) -> None:
        [delivery] = gather(1)
        form(endpoint)
        request = render(take(delivery), timestamp=1)
        assert json.loads(request.body)["type"] == "angarium.batch"
        assert len(json.loads(request.body)["data"]) == 1

    def test_a_batch_stays_one_when_its_endpoint_wants_none_any_more(
        self, endpoint: Endpoint
    ) -> None:
        made = gather(2)
        form(endpoint)
        Endpoint.objects.update(batch_events=None)
        assert len(json.loads(render(take(made[0]), timestamp=1).body)["data"]) == 2

    def test_one_attempt_covers_it(self, endpoint: Endpoint) -> None:
        made = gather(3)
        form(endpoint)
        assert attempt(made[0], OK) == []
        assert states(made) == ["delivered"] * 3
        assert Attempt.objects.get().delivery_id == made[0]
        for one in made:
            assert row(one).ended_at is not None
            assert [each.outcome for each in row(one).its_attempts] == ["delivered"]

    def test_a_failing_one_is_tried_again_whole(
        self, endpoint: Endpoint, configure: Configure
    ) -> None:
        configure(RETRY_SCHEDULE=[10, 10])
        made = gather(3)
        form(endpoint)
        first = render(take(made[0]), timestamp=1)
        Delivery.objects.filter(pk=made[0]).update(state="pending", lease_expires_at=None)
        gather(2)
        assert attempt(made[0], BROKEN) == [made[0]]
        assert states(made) == ["waiting", "batched", "batched"]
        age(row(made[0]), "next_attempt_at", 1)
        again = render(take(made[0]), timestamp=2)
        assert again.body == first.body
        assert again.headers["webhook-id"] == first.headers["webhook-id"]

    def test_when_it_dies_each_has_a_dead_letter(self, endpoint: Endpoint) -> None:
        made = gather(3)
        form(endpoint)
        attempt(made[0], BROKEN)
        age(row(made[0]), "next_attempt_at", 1)
        attempt(made[0], BROKEN)
        assert states(made) == ["dead"] * 3
        letters = DeadLetter.objects.values_list("delivery", "reason", "last_error")
        assert sorted(letters) == [(one, "exhausted", "answered 500") for one in made]

    def test_what_a_lost_lease_says_of_a_batch_is_dropped(self, endpoint: Endpoint) -> None:
        made = gather(3)
        form(endpoint)
        ours = take(made[0])
        Delivery.objects.filter(pk=made[0]).update(attempt_number=2)
        record([(ours.lease, OK)])
        assert states(made) == ["sending", "batched", "batched"]


class TestTooLarge:
    def test_a_batch_that_is_too_large_goes_again_in_halves(self, endpoint: Endpoint) -> None:
        made = gather(3)
        form(endpoint)
        assert attempt(made[0], TOO_LARGE) == [made[0], made[2]]
        assert states(made) == ["waiting", "batched", "pending"]
        assert leads() == {made[0]: [made[1]]}
        assert [row(one).batch_size for one in made] == [2, None, None]

    def test_each_half_has_an_id_and_the_whole_schedule_of_its_own(
        self, endpoint: Endpoint
    ) -> None:
        made = gather(3)
        form(endpoint)
        whole = render(take(made[0]), timestamp=1).headers["webhook-id"]
        Delivery.objects.filter(pk=made[0]).update(state="pending", lease_expires_at=None)
        attempt(made[0], TOO_LARGE)
        first, second = take(made[0]), take(made[2])
        assert first.lease.tries == second.lease.tries == 1
        ids = {render(one, timestamp=1).headers["webhook-id"] for one in (first, second)}
        assert len(ids | {whole}) == 3

    def test_it_is_halved_until_each_goes_alone_and_then_413_is_a_failure(
        self, make_endpoint: MakeEndpoint
    ) -> None:
        endpoint = make_endpoint(batch_events=10)
        made = gather(10)
        todo = form(endpoint)
        while todo:
            todo += [one for one in attempt(todo.pop(), TOO_LARGE) if row(one).batch_size]
        alone = Delivery.objects.filter(state__in=["pending", "waiting"], batch_size=None)
        assert alone.count() == 10
        for one in made:
            if row(one).state == "pending":
                attempt(one, TOO_LARGE)
        assert set(states(made)) == {"waiting"}
        assert not DeadLetter.objects.exists()


class TestSweeps:
    def test_what_redis_has_lost_count_of_is_formed(self, endpoint: Endpoint, queue: Queue) -> None:
        made = gather(4)
        queue.purge()
        assert sweeps.gathered() == 2
        assert queue.deliveries() == {made[0], made[3]}
        assert sweeps.gathered() == 0

    def test_what_is_not_late_is_left_alone(self, endpoint: Endpoint) -> None:
        made = gather(2, late=False)
        assert sweeps.gathered() == 0
        assert states(made) == ["gathering"] * 2

    def test_it_goes_from_endpoint_to_endpoint(self, make_endpoint: MakeEndpoint) -> None:
        for _ in range(3):
            make_endpoint(batch_events=2)
        for _ in range(4):
            emit("made.once", {})
        for delivery in Delivery.objects.all():
            age(delivery, "created_at", 6)
        assert sweeps.gathered() == 6

    @pytest.mark.parametrize("state", ["paused", "deleted"])
    def test_a_batch_whose_endpoint_rests_waits_or_ends_with_it(
        self, endpoint: Endpoint, state: str
    ) -> None:
        made = gather(3)
        form(endpoint)
        Endpoint.objects.update(state=state)
        assert claim([to_uuid(made[0])]) == []
        sweeps.batched()
        sweeps.gathered()
        expected = {"paused": ["held", "batched", "batched"], "deleted": ["discarded"] * 3}
        assert states(made) == expected[state]

    def test_a_held_batch_is_released_whole_and_what_was_held_alone_gathers(
        self, endpoint: Endpoint
    ) -> None:
        made = gather(3)
        form(endpoint)
        Endpoint.objects.update(state="paused")
        claim([to_uuid(made[0])])
        late = gather(2)
        assert states(late) == ["held"] * 2
        Endpoint.objects.update(state="active")
        sweeps.held()
        assert states([*made, *late]) == ["pending", "batched", "batched"] + ["gathering"] * 2
        assert len(take(made[0]).events) == 3

    def test_a_batch_that_was_held_for_too_long_dies_whole(
        self, endpoint: Endpoint, configure: Configure
    ) -> None:
        made = gather(3)
        form(endpoint)
        Endpoint.objects.update(state="paused")
        claim([to_uuid(made[0])])
        configure(HELD_RETENTION=-60)
        assert sweeps.held_too_long() == 1
        assert sweeps.batched() == 2
        assert states(made) == ["dead"] * 3
        assert set(DeadLetter.objects.values_list("reason", flat=True)) == {"expired"}

    def test_a_worker_that_died_with_a_batch_has_it_tried_again(self, endpoint: Endpoint) -> None:
        made = gather(3)
        form(endpoint)
        take(made[0])
        age(row(made[0]), "lease_expires_at", 1)
        assert sweeps.stuck() == 1
        assert states(made) == ["waiting", "batched", "batched"]

    def test_old_events_of_a_batch_are_dropped_one_by_one(
        self, endpoint: Endpoint, configure: Configure
    ) -> None:
        made = gather(3)
        form(endpoint)
        attempt(made[0], OK)
        configure(EVENT_RETENTION=-60, SWEEP_CHUNK=1, SWEEP_CHUNKS=1)
        for left in (2, 1, 0):
            retention.old_events()
            assert Delivery.objects.count() == left


class TestOperations:
    def test_who_discards_the_lead_lets_the_others_gather_anew(self, endpoint: Endpoint) -> None:
        made = gather(3)
        form(endpoint)
        operations.discard([to_uuid(made[0])])
        sweeps.batched()
        assert states(made) == ["discarded", "gathering", "gathering"]
        assert form(endpoint) == [made[1]]

    def test_a_batched_delivery_cannot_be_discarded_and_a_gathering_one_can(
        self, endpoint: Endpoint
    ) -> None:
        made = gather(4, late=False)
        form(endpoint)
        operations.discard([to_uuid(one) for one in made[1:]])
        assert states(made) == ["pending", "batched", "batched", "discarded"]

    @pytest.mark.django_db(transaction=True)
    def test_what_is_redriven_is_sent_in_new_batches(
        self, endpoint: Endpoint, queue: Queue
    ) -> None:
        made = gather(3)
        form(endpoint)
        attempt(made[0], BROKEN)
        age(row(made[0]), "next_attempt_at", 1)
        attempt(made[0], BROKEN)
        queue.purge()
        assert len(operations.redrive([to_uuid(one) for one in made])) == 3
        assert states(made) == ["gathering"] * 3
        assert leads() == {}
        assert ("deliveries.form_batches", [endpoint.pk]) in queue.messages("housekeeping")
        assert form(endpoint) == [made[0]]
        assert take(made[0]).lease.tries == 1

    def test_what_is_redriven_with_others_has_another_batch_s_id(self, endpoint: Endpoint) -> None:
        made = gather(2)
        form(endpoint)
        attempt(made[0], BROKEN)
        age(row(made[0]), "next_attempt_at", 1)
        ours = take(made[0])
        before = render(ours, timestamp=1)
        record([(ours.lease, BROKEN)])
        operations.redrive([to_uuid(made[0])])
        gather(1)
        form(endpoint)
        after = render(take(made[0]), timestamp=1)
        assert after.body != before.body
        assert after.headers["webhook-id"] != before.headers["webhook-id"]


def test_a_batched_delivery_without_a_lead_is_refused_by_the_database(endpoint: Endpoint) -> None:
    made = gather(1)
    with pytest.raises(IntegrityError), transaction.atomic():
        Delivery.objects.filter(pk=made[0]).update(state="batched")


def test_where_nobody_wants_batches_neither_claim_nor_record_asks_for_more(
    make_endpoint: MakeEndpoint, django_assert_num_queries: Any
) -> None:
    make_endpoint()
    delivery = to_uuid(Delivery.objects.get(event=emit("made.once", {})).pk)
    with django_assert_num_queries(1):
        [ours] = claim([delivery])
    with django_assert_num_queries(4):  # a transaction's two, the result, the endpoint's health
        record([(ours.lease, OK)])
