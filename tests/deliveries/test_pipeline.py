from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone
from uuid_utils.compat import uuid7

from deliveries.models import Attempt, DeadLetter, Delivery
from deliveries.pipeline import Claim, claim, record
from subscriptions.ids import to_uuid
from subscriptions.models import Endpoint, SigningSecret
from subscriptions.shapes import Shape
from tests.conftest import Configure
from tests.deliveries.conftest import MakeDelivery, age, states
from webhooks.sending.outcome import Outcome, OutcomeKind, Timings

pytestmark = pytest.mark.django_db

DELIVERED = Outcome(kind=OutcomeKind.DELIVERED, status=200, duration_ms=7, response_body="ok")
TIMED = replace(DELIVERED, timings=Timings(dns=1, connect=2, tls=3, first_byte=4))
FAILED = Outcome(
    kind=OutcomeKind.REJECTED,
    status=500,
    duration_ms=9,
    response_headers="Server: gate",
    error="answered 500",
)
GONE = Outcome(kind=OutcomeKind.REJECTED, status=410, error="answered 410")


@pytest.fixture(autouse=True)
def short_schedule(configure: Configure) -> None:
    configure(RETRY_SCHEDULE=[10, 1000], JITTER=0, RETRY_COUNTDOWN_MAX=300)


def take(*deliveries: Delivery) -> list[Claim]:
    return claim([to_uuid(delivery.pk) for delivery in deliveries])


def take_one(delivery: Delivery) -> Claim:
    [ours] = take(delivery)
    return ours


class TestClaim:
    def test_gives_all_that_an_attempt_needs(self, make_delivery: MakeDelivery) -> None:
        delivery = make_delivery()
        ours = take_one(delivery)
        assert ours.lease.delivery == to_uuid(delivery.pk)
        assert ours.lease.attempt_number == ours.lease.tries == 1
        assert ours.url == delivery.endpoint.url
        assert ours.events[0].id == to_uuid(delivery.event_id)
        assert ours.events[0].type == "made.once"
        assert ours.events[0].payload == '{"n":1}'
        assert ours.events[0].occurred_at == delivery.event.occurred_at
        assert ours.shape == Shape()
        assert ours.secrets == [SigningSecret.objects.get().ciphertext]

    def test_sets_a_lease(self, make_delivery: MakeDelivery, configure: Configure) -> None:
        configure(TIMEOUT=20, LEASE_MARGIN=10)
        delivery = make_delivery()
        take(delivery)
        delivery.refresh_from_db()
        assert delivery.state == "sending"
        assert delivery.lease_expires_at is not None
        left = delivery.lease_expires_at - timezone.now()
        assert timedelta(seconds=25) < left <= timedelta(seconds=30)

    def test_takes_a_whole_list_and_leaves_out_what_is_not_there(
        self, make_delivery: MakeDelivery
    ) -> None:
        deliveries = [make_delivery() for _ in range(3)]
        ids = [to_uuid(delivery.pk) for delivery in deliveries]
        assert len(claim([*ids, uuid7()])) == 3

    @pytest.mark.parametrize("state", ["held", "delivered", "dead", "discarded"])
    def test_takes_nothing_that_is_not_to_be_sent(
        self, make_delivery: MakeDelivery, state: str
    ) -> None:
        ended = None if state == "held" else timezone.now()
        assert take(make_delivery(state=state, ended_at=ended)) == []

    def test_takes_a_delivery_only_once(self, make_delivery: MakeDelivery) -> None:
        delivery = make_delivery()
        assert len(take(delivery)) == 1
        assert take(delivery) == []

    def test_takes_a_waiting_delivery_when_it_is_due_and_not_before(
        self, make_delivery: MakeDelivery
    ) -> None:
        waiting = make_delivery(
            state="waiting", next_attempt_at=timezone.now() + timedelta(minutes=1)
        )
        assert take(waiting) == []
        age(waiting, "next_attempt_at", 1)
        assert len(take(waiting)) == 1

    @pytest.mark.parametrize("state", [Endpoint.State.PAUSED, Endpoint.State.DISABLED])
    def test_holds_what_is_for_an_endpoint_at_rest_and_uses_up_no_attempt(
        self, make_delivery: MakeDelivery, state: str
    ) -> None:
        delivery = make_delivery(endpoint={"state": state})
        assert take(delivery) == []
        delivery.refresh_from_db()
        assert (delivery.state, delivery.attempt_number) == ("held", 0)

    def test_discards_what_is_for_a_deleted_endpoint(self, make_delivery: MakeDelivery) -> None:
        delivery = make_delivery(endpoint={"state": Endpoint.State.DELETED})
        assert take(delivery) == []
        delivery.refresh_from_db()
        assert delivery.state == "discarded"
        assert delivery.ended_at is not None

    def test_gives_every_live_signing_secret_newest_first(
        self, make_delivery: MakeDelivery
    ) -> None:
        delivery = make_delivery()
        first = SigningSecret.objects.get()
        second = SigningSecret.objects.issue(delivery.endpoint)
        expired = SigningSecret.objects.issue(delivery.endpoint)
        SigningSecret.objects.filter(pk=expired.pk).update(
            expires_at=timezone.now() - timedelta(minutes=1)
        )
        assert take_one(delivery).secrets == [second.ciphertext, first.ciphertext]


class TestRecord:
    def test_a_success_ends_the_delivery(self, make_delivery: MakeDelivery) -> None:
        delivery = make_delivery()
        assert record([(take_one(delivery).lease, DELIVERED)]) == {}
        delivery.refresh_from_db()
        assert delivery.state == "delivered"
        assert delivery.ended_at is not None
        assert delivery.lease_expires_at is None
        attempt = Attempt.objects.get()
        assert (attempt.delivery_id, attempt.number) == (delivery.pk, 1)
        assert (attempt.outcome, attempt.status, attempt.duration_ms) == ("delivered", 200, 7)
        assert attempt.response_body == "ok"

    def test_the_steps_of_an_attempt_are_kept_as_far_as_it_came(
        self, make_delivery: MakeDelivery
    ) -> None:
        timed, untimed = make_delivery(), make_delivery()
        record([(take_one(timed).lease, TIMED), (take_one(untimed).lease, FAILED)])
        assert timed.its_attempts.get().steps == {
            "DNS": 1,
            "connect": 2,
            "TLS": 3,
            "first byte": 4,
            "total": 7,
        }
        assert untimed.its_attempts.get().steps == {"total": 9}

    def test_a_failure_waits_by_countdown_while_the_wait_is_short(
        self, make_delivery: MakeDelivery
    ) -> None:
        delivery = make_delivery()
        assert record([(take_one(delivery).lease, FAILED)]) == {to_uuid(delivery.pk): 10}
        delivery.refresh_from_db()
        assert delivery.state == "waiting"
        assert delivery.rung_at == delivery.next_attempt_at
        attempt = Attempt.objects.get()
        assert (attempt.error, attempt.response_headers) == ("answered 500", "Server: gate")

    def test_a_longer_wait_is_parked_in_the_row(self, make_delivery: MakeDelivery) -> None:
        delivery = make_delivery(attempt_number=1)
        assert record([(take_one(delivery).lease, FAILED)]) == {}
        delivery.refresh_from_db()
        assert delivery.state == "waiting"
        assert delivery.rung_at is None
        assert delivery.next_attempt_at is not None
        assert delivery.next_attempt_at > timezone.now() + timedelta(seconds=900)

    def test_the_last_failure_makes_a_dead_letter_that_says_why(
        self, make_delivery: MakeDelivery
    ) -> None:
        delivery = make_delivery(attempt_number=2)
        record([(take_one(delivery).lease, FAILED)])
        delivery.refresh_from_db()
        assert delivery.state == "dead"
        letter = DeadLetter.objects.get()
        assert letter.delivery_id == delivery.pk
        assert (letter.reason, letter.last_error) == ("exhausted", "answered 500")
        assert letter.resolution == ""

    def test_the_schedule_of_a_redriven_delivery_counts_anew(
        self, make_delivery: MakeDelivery
    ) -> None:
        delivery = make_delivery(attempt_number=3, round_start=3)
        assert record([(take_one(delivery).lease, FAILED)]) == {to_uuid(delivery.pk): 10}
        assert Attempt.objects.get().number == 4

    def test_410_disables_the_endpoint(self, make_delivery: MakeDelivery) -> None:
        delivery = make_delivery()
        record([(take_one(delivery).lease, GONE)])
        endpoint = Endpoint.objects.get()
        assert (endpoint.state, endpoint.disabled_reason) == ("disabled", "It answered 410 Gone.")
        assert DeadLetter.objects.get().reason == "gone"

    def test_what_a_lost_lease_says_is_dropped(self, make_delivery: MakeDelivery) -> None:
        delivery = make_delivery()
        late = take_one(delivery).lease
        Delivery.objects.update(state="pending", lease_expires_at=None)
        newer = take_one(delivery).lease
        assert record([(late, DELIVERED)]) == {}
        assert states() == {delivery.pk: "sending"}
        record([(newer, FAILED)])
        assert states() == {delivery.pk: "waiting"}
        assert Attempt.objects.get().number == newer.attempt_number

    def test_one_call_records_a_mixed_batch(self, make_delivery: MakeDelivery) -> None:
        good, bad, gone = (make_delivery() for _ in range(3))
        claims = take(good, bad, gone)
        by_id = {ours.lease.delivery: ours.lease for ours in claims}
        results = [
            (by_id[to_uuid(good.pk)], DELIVERED),
            (by_id[to_uuid(bad.pk)], FAILED),
            (by_id[to_uuid(gone.pk)], GONE),
        ]
        assert set(record(results)) == {to_uuid(bad.pk)}
        assert states() == {good.pk: "delivered", bad.pk: "waiting", gone.pk: "dead"}
        assert Attempt.objects.count() == 3

    def test_the_endpoint_s_health_follows(self, make_delivery: MakeDelivery) -> None:
        delivery = make_delivery()
        record([(take_one(delivery).lease, FAILED)])
        endpoint = Endpoint.objects.get()
        assert endpoint.failing_since == endpoint.last_failure_at is not None
        assert endpoint.last_success_at is None
        age(delivery, "next_attempt_at", 1)
        record([(take_one(delivery).lease, DELIVERED)])
        endpoint.refresh_from_db()
        assert endpoint.failing_since is None
        assert endpoint.last_success_at is not None

    def test_a_dead_worker_says_nothing_of_the_endpoint(self, make_delivery: MakeDelivery) -> None:
        delivery = make_delivery()
        record([(take_one(delivery).lease, Outcome(kind=OutcomeKind.INTERRUPTED))])
        assert Endpoint.objects.get().failing_since is None


@pytest.mark.django_db(transaction=True)
def test_many_workers_that_claim_the_same_list_share_it_without_a_double(
    make_delivery: MakeDelivery,
) -> None:
    deliveries = [make_delivery() for _ in range(40)]

    def work(order: int) -> list[Claim]:
        try:
            return take(*(deliveries if order % 2 else reversed(deliveries)))
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        claimed = [ours.lease.delivery for taken in pool.map(work, range(8)) for ours in taken]
    assert len(claimed) == len(set(claimed))
    # What nobody could lock just then is still pending, for the sweep to ring again.
    left = {to_uuid(pk) for pk, state in states().items() if state == "pending"}
    assert set(claimed) | left == {to_uuid(delivery.pk) for delivery in deliveries}


@pytest.mark.django_db(transaction=True)
def test_what_is_not_committed_is_not_told_and_told_once_it_is(
    make_delivery: MakeDelivery, caplog: pytest.LogCaptureFixture
) -> None:
    result = (take_one(make_delivery()).lease, GONE)
    with connection.cursor() as cursor:
        cursor.execute("""
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN RAISE EXCEPTION $$not now$$; END';
            CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON deliveries_attempt
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()
        """)
        try:
            with pytest.raises(DatabaseError, match="not now"):
                record([result])
        finally:
            cursor.execute("DROP FUNCTION refuse CASCADE")
    assert caplog.messages == []
    record([result])
    disabled, dead = caplog.messages
    assert "is disabled: it answered 410 Gone" in disabled
    assert "dead, gone" in dead
