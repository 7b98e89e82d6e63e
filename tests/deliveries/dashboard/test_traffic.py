"""What became of the deliveries of a period: exactly, or by a sample where there are many."""

from datetime import timedelta

import pytest
from django.utils import timezone

from deliveries.dashboard import traffic as module
from deliveries.dashboard.periods import DAY, HOUR
from deliveries.dashboard.traffic import traffic
from deliveries.models import DeadLetter
from tests.conftest import MakeEndpoint
from tests.deliveries.dashboard.conftest import MakePast
from tests.seeding import seed

pytestmark = pytest.mark.django_db


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def test_deliveries_are_told_by_the_part_in_which_they_were_made_and_what_became_of_them(
    make_past: MakePast,
) -> None:
    now = timezone.now()
    make_past("delivered", ago=minutes(5))
    make_past("dead", ago=minutes(5), failed=3)
    make_past("waiting", ago=minutes(5), failed=1, next_attempt_at=now)
    for state in ("pending", "held"):
        make_past(state, ago=minutes(30))
    make_past("discarded", ago=minutes(30))
    make_past("delivered", ago=minutes(70))
    found = traffic(HOUR, now)
    filled = [flow for flow in found.flows if flow.deliveries]
    assert found.share == 1
    assert [
        (flow.delivered, flow.waiting, flow.on_its_way, flow.dead, flow.discarded)
        for flow in filled
    ] == [(0, 0, 2, 0, 1), (1, 1, 0, 1, 0)]
    assert found.whole.deliveries == 6


def test_a_longer_period_has_the_older_ones_too(make_past: MakePast) -> None:
    make_past(ago=minutes(70))
    assert traffic(HOUR, timezone.now()).whole.deliveries == 0
    assert traffic(DAY, timezone.now()).whole.deliveries == 1


def test_the_success_rate_is_of_what_was_delivered_or_died(make_past: MakePast) -> None:
    for state in ("delivered", "delivered", "delivered", "dead", "pending", "discarded"):
        make_past(state)
    assert traffic(HOUR, timezone.now()).whole.success_rate == 0.75


def test_where_nothing_has_happened_there_is_no_rate_and_no_latency(db: None) -> None:
    whole = traffic(HOUR, timezone.now()).whole
    assert (whole.deliveries, whole.attempts, whole.success_rate) == (0, 0, None)
    assert (whole.of_attempts, whole.to_delivery, traffic(HOUR, timezone.now()).worst) == (
        *(None, None),
        [],
    )


def test_latencies_are_percentiles_of_attempts_and_of_the_time_from_emit_to_delivery(
    make_past: MakePast,
) -> None:
    for number in range(1, 101):
        make_past(ago=minutes(3), duration_ms=number, after=number / 10)
    make_past("dead", ago=minutes(3), after=1000)
    whole = traffic(HOUR, timezone.now()).whole
    assert whole.of_attempts is not None
    assert whole.of_attempts.p50 == pytest.approx(50.5)
    assert whole.of_attempts.p99 == pytest.approx(99, abs=1)
    assert whole.to_delivery is not None
    assert whole.to_delivery.p50 == pytest.approx(5_050, abs=20)
    assert whole.to_delivery.p95 == pytest.approx(9_500, abs=100)


def test_the_worst_endpoints_are_those_whose_deliveries_failed_and_then_those_whose_attempts_did(
    make_past: MakePast, make_endpoint: MakeEndpoint
) -> None:
    good, bad, slow, worst = (make_endpoint() for _ in range(4))
    make_past(to=good)
    make_past(to=bad, failed=1)
    make_past(to=slow, failed=5)
    make_past("dead", to=worst, failed=2)
    make_past("waiting", to=worst, failed=1, next_attempt_at=timezone.now())
    make_past("held", to=worst)
    found = traffic(HOUR, timezone.now()).worst
    assert [(one.id, one.dead, one.waiting, one.failed, one.attempts) for one in found] == [
        (worst.pk, 1, 1, 3, 3),
        (slow.pk, 0, 0, 5, 6),
        (bad.pk, 0, 0, 1, 2),
    ]
    assert found[2].failure_rate == 0.5


def test_many_dead_letters_are_a_sample_too_though_the_deliveries_are_few(
    make_past: MakePast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may die together, long after they were made."""
    monkeypatch.setattr(module, "READ", 4)
    now = timezone.now()
    for _ in range(5):
        old = make_past("dead", ago=timedelta(days=2))
        DeadLetter.objects.create(delivery=old, reason="expired", died_at=now)
    assert traffic(HOUR, now).share < 1
    monkeypatch.setattr(module, "READ", 5)
    letters = traffic(HOUR, timezone.now()).dead_letters
    assert sum(one.open for one in letters) == 5


def test_of_many_a_sample_is_read_and_the_numbers_scaled_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "READ", 500)
    seed(20_000)
    now = timezone.now()
    found = traffic(DAY, now)
    assert found.share == 0.1
    assert found.whole.deliveries == pytest.approx(20_000 / 7, rel=0.25)
    assert found.whole.delivered / found.whole.deliveries == pytest.approx(0.9, abs=0.1)


def test_a_look_reads_no_more_than_its_bound_though_there_is_far_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "READ", 50)
    monkeypatch.setattr(module, "READ_OF_A_SPAN", 1)
    monkeypatch.setattr(module, "SHARES", (1.0, 0.5))
    seed(5_000)
    found = traffic(DAY, timezone.now())
    assert 0 < found.whole.deliveries * found.share <= DAY.parts * 10
