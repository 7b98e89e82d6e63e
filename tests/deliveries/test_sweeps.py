import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from config.celery import app
from deliveries import operations, sweeps
from deliveries.emit import emit
from deliveries.models import Attempt, DeadLetter, Delivery, Event
from deliveries.pipeline import claim, record
from subscriptions.history import HistoryEntry
from subscriptions.ids import to_uuid
from subscriptions.models import Endpoint, SigningSecret, Subscriber
from tests.conftest import Configure, MakeEndpoint, Queue, install_schedules
from tests.deliveries.conftest import MakeDelivery, age, states
from webhooks.sending.outcome import Outcome, OutcomeKind
from webhooks.signing import TOLERANCE

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("queue")]

AGO = timedelta(days=365)


@pytest.fixture(autouse=True)
def quick(configure: Configure) -> None:
    configure(LOST_AFTER=30, RETRY_SCHEDULE=[10, 1000], JITTER=0)


class TestDue:
    def test_a_parked_delivery_is_enqueued_when_its_wait_is_over(
        self, make_delivery: MakeDelivery, queue: Queue
    ) -> None:
        parked = make_delivery(state="waiting", next_attempt_at=timezone.now(), rung_at=None)
        age(parked, "next_attempt_at", 1)
        later = make_delivery(
            state="waiting", next_attempt_at=timezone.now() + timedelta(minutes=1), rung_at=None
        )
        queue.purge()
        assert sweeps.due() == 1
        assert queue.deliveries() == {parked.pk}
        assert states() == {parked.pk: "waiting", later.pk: "waiting"}

    def test_a_countdown_is_given_the_time_to_arrive(
        self, make_delivery: MakeDelivery, queue: Queue
    ) -> None:
        delivery = make_delivery(state="waiting", next_attempt_at=timezone.now())
        age(delivery, "next_attempt_at", 20)
        age(delivery, "rung_at", 20)
        assert sweeps.due() == 0
        age(delivery, "rung_at", 31)
        assert sweeps.due() == 1
        assert sweeps.due() == 0


class TestLost:
    def test_a_pending_delivery_whose_message_is_lost_is_enqueued_again(
        self, make_delivery: MakeDelivery, queue: Queue
    ) -> None:
        lost, fresh = make_delivery(), make_delivery()
        age(lost, "rung_at", 31)
        queue.purge()
        assert sweeps.lost() == 1
        assert queue.deliveries() == {lost.pk}
        assert sweeps.lost() == 0
        assert states()[fresh.pk] == "pending"

    def test_a_fan_out_that_did_not_end_is_asked_for_again(
        self, make_endpoint: MakeEndpoint, configure: Configure, queue: Queue
    ) -> None:
        configure(FAN_OUT_INLINE_LIMIT=0)
        make_endpoint()
        event = emit("invoice.paid", {})
        assert sweeps.unfinished_fan_outs() == 0
        Event.objects.update(created_at=timezone.now() - timedelta(seconds=31))
        queue.purge()
        assert sweeps.unfinished_fan_outs() == 1
        assert queue.messages("housekeeping") == [("deliveries.fan_out", [event.pk])]

    def test_a_full_queue_is_not_filled_further(
        self, make_delivery: MakeDelivery, configure: Configure, queue: Queue
    ) -> None:
        configure(QUEUE_LIMIT=2)
        for _ in range(5):
            age(make_delivery(), "rung_at", 31)
        queue.purge()
        assert sweeps.lost() == 2
        assert sweeps.lost() == 0
        assert len(queue.messages()) == 2
        assert sweeps.lost() == 2


class TestStuck:
    def test_a_delivery_whose_lease_ran_out_is_taken_back_and_tried_again(
        self, make_delivery: MakeDelivery, queue: Queue
    ) -> None:
        delivery = make_delivery()
        [ours] = claim([to_uuid(delivery.pk)])
        queue.purge()
        assert sweeps.stuck() == 0
        age(delivery, "lease_expires_at", 1)
        assert sweeps.stuck() == 1
        assert queue.deliveries() == {delivery.pk}
        attempt = Attempt.objects.get()
        assert (attempt.outcome, attempt.status) == ("interrupted", None)
        [again] = claim([to_uuid(delivery.pk)])
        assert again.lease.attempt_number == ours.lease.attempt_number + 1

    def test_a_worker_that_comes_back_late_changes_nothing(
        self, make_delivery: MakeDelivery
    ) -> None:
        delivery = make_delivery()
        [ours] = claim([to_uuid(delivery.pk)])
        age(delivery, "lease_expires_at", 1)
        sweeps.stuck()
        record([(ours.lease, Outcome(kind=OutcomeKind.DELIVERED, status=200))])
        assert states() == {delivery.pk: "waiting"}

    def test_a_delivery_that_kills_its_workers_is_dead_in_the_end(
        self, make_delivery: MakeDelivery
    ) -> None:
        delivery = make_delivery()
        for _ in range(3):
            assert len(claim([to_uuid(delivery.pk)])) == 1
            age(delivery, "lease_expires_at", 1)
            assert sweeps.stuck() == 1
        assert states() == {delivery.pk: "dead"}
        assert DeadLetter.objects.get().reason == "exhausted"


class TestHeld:
    def test_what_was_held_is_released_when_its_endpoint_is_active_again(
        self, make_delivery: MakeDelivery, queue: Queue
    ) -> None:
        resumed = make_delivery(state="held", rung_at=None, endpoint={"state": "paused"})
        resting = make_delivery(state="held", rung_at=None, endpoint={"state": "disabled"})
        queue.purge()
        assert sweeps.held() == 0
        Endpoint.objects.get(pk=resumed.endpoint_id).resume()
        assert sweeps.held() == 1
        assert states() == {resumed.pk: "pending", resting.pk: "held"}
        assert queue.deliveries() == {resumed.pk}

    def test_what_was_held_for_an_endpoint_that_is_deleted_is_discarded(
        self, make_delivery: MakeDelivery, queue: Queue
    ) -> None:
        delivery = make_delivery(state="held", endpoint={"state": "deleted"})
        queue.purge()
        assert sweeps.held() == 1
        assert states() == {delivery.pk: "discarded"}
        assert queue.deliveries() == set()

    def test_what_is_held_too_long_becomes_a_dead_letter(
        self, make_delivery: MakeDelivery, configure: Configure
    ) -> None:
        delivery = make_delivery(state="held", endpoint={"state": "paused"})
        assert sweeps.held_too_long() == 0
        configure(HELD_RETENTION=-1)
        assert sweeps.held_too_long() == 1
        assert states() == {delivery.pk: "dead"}
        letter = DeadLetter.objects.get()
        assert letter.reason == "expired"
        assert letter.last_error == "Its endpoint was paused for too long."

    @pytest.mark.parametrize("ends", ["dead", "delivered"])
    def test_what_is_old_and_sent_again_is_held_for_its_whole_time_from_then(
        self, make_delivery: MakeDelivery, configure: Configure, ends: str
    ) -> None:
        delivery = make_delivery(state=ends, ended_at=timezone.now(), endpoint={"state": "paused"})
        # Whatever there is by now is older than a delivery may be held.
        configure(HELD_RETENTION=0)
        assert operations.replay([to_uuid(delivery.pk)])
        with connection.cursor() as cursor:
            cursor.execute("UPDATE deliveries_statechange SET at = now() + interval '1 hour'")
        assert sweeps.held_too_long() == 0
        with connection.cursor() as cursor:
            cursor.execute("UPDATE deliveries_statechange SET at = now() - interval '1 hour'")
        assert sweeps.held_too_long() == 1


def bury(delivery: Delivery, reason: str = "exhausted", **columns: object) -> DeadLetter:
    Delivery.objects.filter(pk=delivery.pk).update(state="dead", ended_at=timezone.now())
    return DeadLetter.objects.create(
        delivery=delivery, reason=reason, **{"died_at": timezone.now(), **columns}
    )


def recover(delivery: Delivery) -> None:
    Endpoint.objects.filter(pk=delivery.endpoint_id).update(
        last_success_at=timezone.now() + timedelta(seconds=1), failing_since=None
    )


def bury_many(endpoint: Endpoint, count: int) -> None:
    """Dead letters of one endpoint, which has come back since."""
    for n in range(count):
        event = emit("made.often", {"n": n})
        Delivery.objects.filter(event=event).exclude(endpoint=endpoint).delete()
        bury(Delivery.objects.get(event=event))
    recover(Delivery.objects.filter(endpoint=endpoint)[0])


def bury_an_outage(endpoint: Endpoint, count: int) -> None:
    """As many dead letters, written at once."""
    with connection.cursor() as cursor:
        cursor.execute(
            """WITH event AS (
                   INSERT INTO deliveries_event (id, type, payload, occurred_at, created_at,
                                                 delivery_count, fanned_out_at)
                   SELECT gen_random_uuid(), 'made.often', '{}', now(), now(), 1, now()
                     FROM generate_series(1, %s)
                RETURNING id
               )
               INSERT INTO deliveries_delivery (id, event_id, endpoint_id, state, attempt_number,
                                                round_start, created_at, ended_at)
               SELECT gen_random_uuid(), id, %s, 'dead', 10, 0, now(), now() FROM event""",
            [count, to_uuid(endpoint.pk)],
        )
        cursor.execute(
            """INSERT INTO deliveries_deadletter (id, delivery_id, reason, last_error, died_at,
                                                  resolution)
               SELECT gen_random_uuid(), id, 'exhausted', '', now(), ''
                 FROM deliveries_delivery WHERE endpoint_id = %s""",
            [to_uuid(endpoint.pk)],
        )
    recover(Delivery.objects.filter(endpoint=endpoint)[0])


class TestDeadLetters:
    def test_they_are_redriven_once_their_endpoint_has_recovered(
        self, make_delivery: MakeDelivery
    ) -> None:
        recovered, failing = make_delivery(), make_delivery()
        bury(recovered)
        bury(failing)
        assert sweeps.recovered_dead_letters() == 0
        recover(recovered)
        assert sweeps.recovered_dead_letters() == 1
        assert states() == {recovered.pk: "pending", failing.pk: "dead"}
        assert DeadLetter.objects.get(delivery=recovered).resolution == "recovered"

    def test_they_are_redriven_by_themselves_at_most_once(
        self, make_delivery: MakeDelivery
    ) -> None:
        delivery = make_delivery()
        for expected in (1, 0):
            bury(delivery)
            recover(delivery)
            assert sweeps.recovered_dead_letters() == expected
        assert operations.redrive([to_uuid(delivery.pk)]) == [to_uuid(delivery.pk)]

    @pytest.mark.parametrize("reason", sorted({*DeadLetter.Reason.values} - {"exhausted"}))
    def test_those_that_died_of_something_else_are_left_to_a_person(
        self, make_delivery: MakeDelivery, reason: str
    ) -> None:
        delivery = make_delivery()
        bury(delivery, reason)
        recover(delivery)
        assert sweeps.recovered_dead_letters() == 0

    @pytest.mark.parametrize(
        "health",
        [
            {"state": "paused"},
            {"failing_since": timezone.now()},
            {"last_success_at": timezone.now() - AGO},
        ],
    )
    def test_an_endpoint_that_works_no_better_is_left_alone(
        self, make_delivery: MakeDelivery, health: dict[str, object]
    ) -> None:
        delivery = make_delivery()
        bury(delivery)
        recover(delivery)
        Endpoint.objects.update(**health)
        assert sweeps.recovered_dead_letters() == 0

    def test_those_of_one_endpoint_come_at_its_rate(
        self, make_endpoint: MakeEndpoint, configure: Configure
    ) -> None:
        configure(RECOVERY_RATE=0.1)
        bury_many(make_endpoint(), 20)
        assert [sweeps.recovered_dead_letters() for _ in range(3)] == [6, 0, 0]
        a_minute_ago = timezone.now() - timedelta(seconds=61)
        DeadLetter.objects.filter(resolution="recovered").update(resolved_at=a_minute_ago)
        assert sweeps.recovered_dead_letters() == 6

    def test_fifty_thousand_of_one_endpoint_are_no_thundering_herd(
        self, make_endpoint: MakeEndpoint
    ) -> None:
        many, few = make_endpoint(), make_endpoint()
        bury_many(few, 3)
        bury_an_outage(many, 50_000)
        assert sweeps.recovered_dead_letters() == 603
        pending = Delivery.objects.filter(state="pending")
        assert (pending.count(), pending.filter(endpoint=few).count()) == (603, 3)
        assert sweeps.recovered_dead_letters() == 0

    def test_those_of_other_endpoints_do_not_wait_for_those_of_one(
        self, make_endpoint: MakeEndpoint, configure: Configure, queue: Queue
    ) -> None:
        many, few, none_yet = make_endpoint(), make_endpoint(), make_endpoint()
        for endpoint, count in ((many, 50), (few, 3), (none_yet, 3)):
            bury_many(endpoint, count)
        Endpoint.objects.filter(pk=none_yet.pk).update(failing_since=timezone.now())
        queue.purge()
        configure(QUEUE_LIMIT=8)
        assert sweeps.recovered_dead_letters() == 7
        pending = Delivery.objects.filter(state="pending")
        assert pending.filter(endpoint=many).count() == 4
        assert pending.filter(endpoint=few).count() == 3

    def test_those_past_their_retention_are_dropped(self, make_delivery: MakeDelivery) -> None:
        old, new = make_delivery(), make_delivery()
        bury(old, died_at=timezone.now() - AGO)
        bury(new)
        assert sweeps.old_dead_letters() == 1
        assert states() == {old.pk: "discarded", new.pk: "dead"}
        assert DeadLetter.objects.get(delivery=old).resolution == "dropped"

    def test_the_open_ones_are_counted_where_the_operator_reads(
        self, make_delivery: MakeDelivery, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert sweeps.count_dead_letters() == 0
        bury(make_delivery())
        with caplog.at_level(logging.WARNING, logger="deliveries.sweeps"):
            assert sweeps.count_dead_letters() == 1
        assert "dead letters: 1 open" in caplog.text


def test_signing_secrets_past_their_overlap_are_deleted(
    make_endpoint: MakeEndpoint, configure: Configure
) -> None:
    configure(SECRET_OVERLAP=0, SWEEP_CHUNK=2)
    endpoint = make_endpoint()
    for _ in range(3):
        newest = SigningSecret.objects.issue(endpoint)
    assert [sweeps.expired_secrets(), sweeps.expired_secrets()] == [3, 0]
    assert list(SigningSecret.objects.all()) == [newest]


@pytest.mark.parametrize(("retention", "dropped"), [(3600, 0), (-1, 5)])
def test_the_history_is_kept_for_its_retention(
    configure: Configure, retention: float, dropped: int
) -> None:
    for _ in range(5):
        Subscriber.objects.create(name="a")
    configure(HISTORY_RETENTION=retention, SWEEP_CHUNK=2)
    assert sweeps.old_history() == dropped
    assert HistoryEntry.objects.count() == 5 - dropped


def test_a_sweep_does_its_share_in_chunks_and_leaves_the_rest_to_the_next_run(
    make_delivery: MakeDelivery, configure: Configure
) -> None:
    configure(SWEEP_CHUNK=2, SWEEP_CHUNKS=2)
    for _ in range(5):
        age(make_delivery(), "rung_at", 31)
    assert [sweeps.lost(), sweeps.lost(), sweeps.lost()] == [4, 1, 0]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("sweep", [sweeps.lost, sweeps.due, sweeps.stuck])
def test_two_sweeps_at_once_take_each_delivery_once(
    make_delivery: MakeDelivery, queue: Queue, configure: Configure, sweep: Callable[[], int]
) -> None:
    configure(SWEEP_CHUNK=3)
    deliveries = [make_delivery() for _ in range(12)]
    for delivery in deliveries:
        if sweep is sweeps.due:
            Delivery.objects.filter(pk=delivery.pk).update(
                state="waiting", rung_at=None, next_attempt_at=timezone.now()
            )
        elif sweep is sweeps.stuck:
            claim([to_uuid(delivery.pk)])
            age(delivery, "lease_expires_at", 1)
        else:
            age(delivery, "rung_at", 31)
    queue.purge()

    def run(_: int) -> int:
        try:
            return sweep()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    sweep()
    rung = [args[0] for _, args in queue.messages()]
    assert sorted(rung) == sorted(delivery.pk for delivery in deliveries)


def test_beat_has_a_schedule_for_every_sweep_there_is() -> None:
    install_schedules()
    scheduled = set(PeriodicTask.objects.filter(enabled=True).values_list("task", flat=True))
    app.loader.import_default_modules()
    assert {name for name in app.tasks if name.startswith("deliveries.sweep_")} <= scheduled
    assert scheduled - set(app.tasks) == set()


def test_no_sweep_is_dropped_by_a_worker_whose_clock_receivers_would_still_bear() -> None:
    install_schedules()
    sweeps_of_beat = PeriodicTask.objects.filter(task__startswith="deliveries.sweep_")
    expire = list(sweeps_of_beat.values_list("expire_seconds", flat=True))
    assert len(expire) > 5
    assert all(seconds is None or seconds >= 2 * TOLERANCE for seconds in expire)
