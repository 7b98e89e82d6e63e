import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.utils import timezone

from deliveries import operations, retention
from deliveries.emit import emit
from deliveries.models import Attempt, DeadLetter, DeadLetterJob, Delivery, Erasure, Event
from deliveries.pipeline import claim, record
from subscriptions.ids import lowest_uuid_at, to_uuid
from subscriptions.models import Endpoint, Subscriber
from tests.conftest import Configure, MakeEndpoint
from tests.deliveries.conftest import MakeDelivery, age, states
from tests.deliveries.test_feed import in_another_thread
from tests.deliveries.test_sweeps import bury
from webhooks.sending.outcome import Outcome, OutcomeKind

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("queue")]

ARRIVED = Outcome(kind=OutcomeKind.DELIVERED, status=200)


@pytest.fixture(autouse=True)
def from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_walk", retention.Walk())


def deliver(delivery: Delivery) -> None:
    [ours] = claim([to_uuid(delivery.pk)])
    record([(ours.lease, ARRIVED)])


class TestOldEvents:
    @pytest.fixture(autouse=True)
    def everything_is_old(self, configure: Configure) -> None:
        configure(EVENT_RETENTION=-1)

    @pytest.mark.parametrize("state", ["delivered", "dead", "discarded"])
    def test_go_with_all_that_hangs_on_them(self, make_delivery: MakeDelivery, state: str) -> None:
        delivery = make_delivery()
        deliver(delivery)
        bury(delivery)
        Delivery.objects.update(state=state)
        assert retention.old_events() == 1
        for model in (Event, Delivery, Attempt, DeadLetter):
            assert not model.objects.exists()

    @pytest.mark.parametrize("state", ["pending", "held"])
    def test_stay_while_a_delivery_is_still_to_be_made(
        self, make_delivery: MakeDelivery, state: str
    ) -> None:
        make_delivery(state=state)
        assert retention.old_events() == 0
        assert Delivery.objects.count() == 1

    def test_stay_until_their_age(self, make_delivery: MakeDelivery, configure: Configure) -> None:
        make_delivery(state="delivered", ended_at=timezone.now())
        configure(EVENT_RETENTION=3600)
        assert retention.old_events() == 0

    def test_go_though_many_older_ones_have_to_stay(
        self, make_delivery: MakeDelivery, configure: Configure
    ) -> None:
        for _ in range(5):
            make_delivery(state="held")
        make_delivery(state="delivered", ended_at=timezone.now())
        configure(SWEEP_CHUNK=2, SWEEP_CHUNKS=1)
        assert [retention.old_events() for _ in range(4)] == [0, 0, 1, 0]
        assert set(Delivery.objects.values_list("state", flat=True)) == {"held"}

    def test_that_went_to_many_go_in_several_transactions(
        self, make_endpoint: MakeEndpoint, configure: Configure
    ) -> None:
        for _ in range(10):
            make_endpoint()
        emit("invoice.paid", {})
        Delivery.objects.update(state="delivered", ended_at=timezone.now())
        configure(SWEEP_CHUNK=1, SWEEP_CHUNKS=1)
        left = []
        while Event.objects.exists():
            retention.old_events()
            left.append(Delivery.objects.count())
        assert left == [6, 2, 0]

    def test_are_found_at_the_front_of_an_index(self, make_delivery: MakeDelivery) -> None:
        plan = plan_of(
            retention.OLD_EVENTS,
            after=retention.FIRST,
            oldest_kept=lowest_uuid_at(timezone.now()),
            limit=500,
        )
        assert "Seq Scan" not in plan
        assert "Index Cond: ((id > " in plan


class TestOldAttempts:
    def test_go_before_their_deliveries(
        self, make_delivery: MakeDelivery, configure: Configure
    ) -> None:
        old, new = make_delivery(), make_delivery()
        deliver(old)
        deliver(new)
        Attempt.objects.filter(delivery=old).update(ended_at=timezone.now() - timedelta(hours=2))
        configure(ATTEMPT_RETENTION=3600, SWEEP_CHUNK=1)
        assert retention.old_attempts() == 1
        assert [attempt.delivery_id for attempt in Attempt.objects.all()] == [new.pk]
        assert Delivery.objects.count() == 2

    def test_a_delivery_that_lost_its_first_attempts_goes_on_to_the_next(
        self, make_delivery: MakeDelivery, configure: Configure
    ) -> None:
        configure(RETRY_SCHEDULE=[0, 0], ATTEMPT_RETENTION=-1)
        delivery = make_delivery()
        [first] = claim([to_uuid(delivery.pk)])
        record([(first.lease, Outcome(kind=OutcomeKind.TIMED_OUT))])
        assert retention.old_attempts() == 1
        age(delivery, "next_attempt_at", 1)
        deliver(delivery)
        assert Attempt.objects.get().number == 2

    def test_no_more_is_read_than_a_chunk_where_none_is_old(
        self, make_delivery: MakeDelivery
    ) -> None:
        plan = plan_of(retention.OLD_ATTEMPTS, limit=500, before=timezone.now())
        inner = plan[plan.index("Limit") :]
        assert re.search("Index Scan using deliveries_attempt_pkey", inner)
        assert "Seq Scan" not in inner


class TestDeletedEndpoints:
    def test_are_forgotten_once_none_of_their_deliveries_is_on_record(
        self, make_delivery: MakeDelivery, configure: Configure
    ) -> None:
        delivery = make_delivery(state="delivered", ended_at=timezone.now())
        endpoint = Endpoint.objects.get(pk=delivery.endpoint_id)
        endpoint.delete_for_good()
        assert retention.deleted_endpoints() == 0
        configure(EVENT_RETENTION=-1)
        retention.old_events()
        assert retention.deleted_endpoints() == 1
        assert not Endpoint.objects.filter(pk=endpoint.pk).exists()

    def test_others_stay_without_deliveries(self, make_endpoint: MakeEndpoint) -> None:
        make_endpoint()
        assert retention.deleted_endpoints() == 0


def test_what_is_redriven_meanwhile_stays(
    make_delivery: MakeDelivery, configure: Configure
) -> None:
    delivery = make_delivery()
    bury(delivery)
    operations.redrive([to_uuid(delivery.pk)])
    configure(EVENT_RETENTION=-1)
    assert retention.old_events() == 0


@pytest.mark.django_db(transaction=True)
class TestBesideWorkers:
    """Of each two, one transaction has done its work and is open still; nobody waits for it."""

    @pytest.fixture(autouse=True)
    def everything_is_old(self, configure: Configure) -> None:
        configure(EVENT_RETENTION=-1, ATTEMPT_RETENTION=-1)

    def test_what_a_worker_records_is_skipped_and_taken_in_a_later_run(
        self, make_delivery: MakeDelivery
    ) -> None:
        recorded, over = make_delivery(), make_delivery()
        deliver(over)
        with transaction.atomic():
            deliver(recorded)
            assert beside(retention.old_attempts) == 1
            assert beside(retention.old_events) == 1
        assert [delivery.pk for delivery in Delivery.objects.all()] == [recorded.pk]
        assert Attempt.objects.get().delivery_id == recorded.pk
        assert (retention.old_attempts(), retention.old_events()) == (1, 1)

    def test_what_a_person_sends_again_is_skipped_and_stays(
        self, make_delivery: MakeDelivery
    ) -> None:
        redriven, over = make_delivery(), make_delivery()
        for delivery in (redriven, over):
            bury(delivery)
        with transaction.atomic():
            operations.redrive([to_uuid(redriven.pk)])
            assert beside(retention.old_events) == 1
        assert states() == {redriven.pk: "pending"}

    def test_workers_record_while_others_are_deleted(self, make_endpoint: MakeEndpoint) -> None:
        endpoint = make_endpoint()
        old, new = (Delivery.objects.get(event=emit("invoice.paid", {"n": n})) for n in range(2))
        deliver(old)
        with transaction.atomic():
            assert (retention.old_attempts(), retention.old_events()) == (1, 1)
            beside(lambda: deliver(new))
            beside(lambda: emit("invoice.paid", {"n": 2}))
        assert sorted(endpoint.deliveries.values_list("state", flat=True)) == [
            *("delivered", "pending")
        ]


class TestEndedJobs:
    def test_go_by_their_age_in_chunks(self, configure: Configure) -> None:
        long_ago = timezone.now() - timedelta(days=400)
        for number, ended_at in enumerate([long_ago, long_ago, timezone.now(), None]):
            DeadLetterJob.objects.create(
                action="redrive", selection={}, matched=1, up_to=uuid4(), ended_at=ended_at
            )
            Erasure.objects.create(subscriber=f"{number}", ended_at=ended_at)
        configure(SWEEP_CHUNK=1, SWEEP_CHUNKS=1)
        assert [retention.ended_jobs() for _ in range(3)] == [2, 2, 0]
        assert DeadLetterJob.objects.count() == Erasure.objects.count() == 2


def test_the_admin_s_log_of_subscribers_goes_as_their_history_does_and_that_of_users_stays(
    admin_user: User, subscriber: Subscriber
) -> None:
    for row in (subscriber, admin_user):
        for days in (400, 1):
            entry = LogEntry.objects.create(
                user=admin_user,
                content_type=ContentType.objects.get_for_model(row),
                object_id=row.pk,
                action_flag=2,
            )
            LogEntry.objects.filter(pk=entry.pk).update(
                action_time=timezone.now() - timedelta(days=days)
            )
    assert [retention.old_admin_log() for _ in range(2)] == [1, 0]
    assert LogEntry.objects.filter(object_id=subscriber.pk).count() == 1
    assert LogEntry.objects.filter(object_id=admin_user.pk).count() == 2


def beside(work: Callable[[], Any]) -> Any:
    """What comes of some work in another transaction, which waits for nobody's lock for long."""

    def run() -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '3s'")
        return work()

    return in_another_thread(run)


def plan_of(statement: str, **parameters: Any) -> str:
    """How PostgreSQL would go about it in a large table: an empty one it reads to its end."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute(f"EXPLAIN {statement}", parameters)
        return "\n".join(line for (line,) in cursor.fetchall())
