"""The gauges: what there is just now, at a cost that has a bound."""

import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from redis import Redis

from deliveries import bell, status
from deliveries.emit import emit
from deliveries.metrics.reporting import SEEN
from deliveries.metrics.sweeps import sweeps_lag
from deliveries.models import DeadLetter, Delivery, Event
from tests.conftest import Configure, MakeEndpoint, Queue, install_schedules
from tests.deliveries.conftest import MakeDelivery, age
from tests.deliveries.metrics.conftest import Scrape

pytestmark = pytest.mark.django_db


def ago(**units: float) -> Any:
    return timezone.now() - timedelta(**units)


def bury(delivery: Delivery, reason: str, **units: float) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(state="dead", ended_at=ago(**units))
    DeadLetter.objects.create(delivery=delivery, reason=reason, died_at=ago(**units))


def test_dead_letters_are_told_by_reason_with_the_age_of_the_oldest(
    make_delivery: MakeDelivery, scrape: Scrape
) -> None:
    bury(make_delivery(), "exhausted", hours=5)
    bury(make_delivery(), "exhausted", hours=1)
    bury(make_delivery(), "gone", minutes=2)
    samples = scrape()
    assert samples.labelled("angarium_dead_letters") == {
        reason: {"exhausted": 2, "gone": 1}.get(reason, 0) for reason in DeadLetter.Reason
    }
    oldest = samples.labelled("angarium_oldest_dead_letter_seconds")
    assert oldest["exhausted"] == pytest.approx(5 * 3600, abs=60)
    assert oldest["gone"] == pytest.approx(120, abs=60)
    assert oldest["expired"] == 0


def test_a_dead_letter_that_was_seen_to_counts_no_more(
    make_delivery: MakeDelivery, scrape: Scrape
) -> None:
    bury(make_delivery(), "exhausted", hours=5)
    DeadLetter.objects.update(resolution="discarded", resolved_at=timezone.now())
    samples = scrape()
    assert samples["angarium_dead_letters", "exhausted"] == 0
    assert samples["angarium_oldest_dead_letter_seconds", "exhausted"] == 0


def test_deliveries_that_have_not_ended_are_told_by_state(
    make_delivery: MakeDelivery, scrape: Scrape
) -> None:
    make_delivery()
    make_delivery(state="sending", lease_expires_at=timezone.now())
    for _ in range(2):
        make_delivery(state="waiting", next_attempt_at=timezone.now() + timedelta(hours=1))
    make_delivery(state="held")
    make_delivery(state="delivered", ended_at=timezone.now())
    assert scrape().labelled("angarium_deliveries_under_way") == {
        "pending": 1,
        "sending": 1,
        "waiting": 2,
        "held": 1,
        "gathering": 0,
        "queued": 0,
        "batched": 0,
    }


def test_every_state_that_is_not_final_is_told() -> None:
    assert {name for name, *_ in status.INDEXED} == set(Delivery.State.values) - {
        "delivered",
        "dead",
        "discarded",
    }


def test_the_oldest_wait_counts_from_when_a_delivery_was_due(
    make_delivery: MakeDelivery, scrape: Scrape
) -> None:
    make_delivery(state="waiting", next_attempt_at=timezone.now() + timedelta(hours=1))
    samples = scrape()
    assert samples.labelled("angarium_oldest_wait_seconds") == {"pending": 0, "waiting": 0}
    age(make_delivery(), "rung_at", 700)
    make_delivery(state="waiting", next_attempt_at=ago(seconds=90))
    samples = scrape()
    assert samples["angarium_oldest_wait_seconds", "pending"] == pytest.approx(700, abs=60)
    assert samples["angarium_oldest_wait_seconds", "waiting"] == pytest.approx(90, abs=60)


def test_what_is_more_than_is_counted_is_estimated_by_the_statistics(
    make_delivery: MakeDelivery, scrape: Scrape, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        make_delivery(state="held")
    monkeypatch.setattr(status, "EXACT", 3)
    assert scrape()["angarium_deliveries_under_way", "held"] == 3
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE deliveries_delivery")
    assert scrape()["angarium_deliveries_under_way", "held"] == 5


def test_a_look_reads_no_whole_table_though_the_statistics_say_that_all_of_it_is_held(
    make_endpoint: MakeEndpoint,
) -> None:
    endpoint = make_endpoint()
    with connection.cursor() as cursor:
        cursor.execute(
            """WITH event AS (
                   INSERT INTO deliveries_event
                          (id, type, payload, occurred_at, created_at, delivery_count,
                           fanned_out_at)
                   SELECT gen_random_uuid(), 'many', '1', now(), now(), 1, now()
                     FROM generate_series(1, 20000) RETURNING id
               )
               INSERT INTO deliveries_delivery
                      (id, event_id, endpoint_id, state, attempt_number, round_start, created_at)
               SELECT gen_random_uuid(), id, %s, 'held', 0, 0, now() FROM event""",
            [endpoint.pk.removeprefix("ep_")],
        )
        cursor.execute("ANALYZE deliveries_delivery, deliveries_event, deliveries_deadletter")
        for statement in (status.UNDER_WAY, status.FAN_OUTS, status.DEAD_LETTERS):
            asked = {"exact": 1_000, "reasons": DeadLetter.Reason.values}
            cursor.execute(f"EXPLAIN {statement}", asked)
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "Seq Scan on deliveries_delivery" not in plan
            assert "Seq Scan on deliveries_event" not in plan


def test_a_fan_out_that_has_not_ended_is_told_with_its_age(
    make_endpoint: MakeEndpoint, configure: Configure, scrape: Scrape
) -> None:
    configure(FAN_OUT_INLINE_LIMIT=0)
    make_endpoint()
    emit("invoice.paid", {})
    Event.objects.update(created_at=ago(minutes=3))
    samples = scrape()
    assert samples["angarium_fan_outs_under_way"] == 1
    assert samples["angarium_oldest_fan_out_seconds"] == pytest.approx(180, abs=60)


def test_endpoints_are_told_by_state_and_how_many_of_them_fail(
    make_endpoint: MakeEndpoint, scrape: Scrape
) -> None:
    make_endpoint()
    make_endpoint(failing_since=ago(hours=1))
    make_endpoint(state="paused")
    samples = scrape()
    assert samples["angarium_endpoints", "active"] == 2
    assert samples["angarium_endpoints", "paused"] == 1
    assert samples["angarium_endpoints", "disabled"] == 0
    assert samples["angarium_failing_endpoints", "active"] == 1


def test_circuits_that_are_not_closed_are_counted(
    make_endpoint: MakeEndpoint, scrape: Scrape
) -> None:
    opened = {"circuit_opened_at": ago(minutes=1), "openings": 1}
    make_endpoint()
    make_endpoint(circuit="open", probe_at=ago(minutes=0), **opened)
    make_endpoint(circuit="half_open", probe=uuid4(), **opened)
    assert scrape().labelled("angarium_circuits") == {"open": 1, "half_open": 1}


def test_the_messages_of_each_queue_are_counted(queue: Queue, scrape: Scrape) -> None:
    bell.ring_for_fan_out(["evt_1", "evt_2"])
    assert scrape().labelled("angarium_queue_messages") == {"deliveries": 0, "housekeeping": 2}


@pytest.mark.parametrize(
    ("kind", "gauge"), [("worker", "angarium_workers"), ("beat", "angarium_beats")]
)
def test_who_gave_no_sign_of_life_for_two_minutes_does_not_count_as_alive(
    kind: str, gauge: str, redis: Redis, scrape: Scrape
) -> None:
    now = time.time()  # Redis' clock too
    redis.zadd(SEEN, {f"{kind}:silent": now - 120, f"{kind}:well": now})
    assert scrape()[gauge] == 1
    redis.zrem(SEEN, f"{kind}:well")
    assert scrape()[gauge] == 0


class TestSweepsLag:
    @pytest.fixture(autouse=True)
    def scheduled_long_ago(self) -> None:
        install_schedules()
        PeriodicTask.objects.update(date_changed=ago(days=1), last_run_at=None)

    def test_a_sweep_that_ran_in_time_does_not_lag(self) -> None:
        assert sweeps_lag({"due": 1.0})["due"] == 0

    def test_one_that_is_overdue_lags_by_what_it_is_overdue(self) -> None:
        # Every five seconds.
        assert sweeps_lag({"due": 65.0})["due"] == pytest.approx(60, abs=2)

    def test_of_one_that_nobody_saw_it_counts_when_beat_last_sent_it(self) -> None:
        PeriodicTask.objects.update(last_run_at=ago(hours=2))
        assert sweeps_lag({})["expired"] == pytest.approx(3600, abs=5)

    def test_one_that_never_ran_lags_since_it_was_scheduled(self) -> None:
        assert sweeps_lag({})["expired"] == pytest.approx(23 * 3600, abs=60)

    def test_one_that_is_switched_off_is_not_told(self) -> None:
        PeriodicTask.objects.filter(name="deliveries.sweep_held").update(enabled=False)
        assert "held" not in sweeps_lag({})
        assert "due" in sweeps_lag({})


def test_asking_again_within_seconds_does_not_look_again(
    scrape: Scrape, monkeypatch: pytest.MonkeyPatch
) -> None:
    scrape()
    monkeypatch.setattr("deliveries.metrics.exposition.FRESH_FOR", 60)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        scrape()
    assert len(queries) == 0
