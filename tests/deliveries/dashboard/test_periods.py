from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from deliveries.dashboard.periods import DAY, HOUR, PERIODS, Period, Span, period_named, sampled

NOW = datetime(2026, 11, 29, 23, 14, 31, tzinfo=UTC)


@pytest.mark.parametrize("period", PERIODS, ids=lambda period: period.key)
def test_a_periods_parts_follow_upon_each_other_and_the_last_has_now_in_it(period: Period) -> None:
    parts = period.split(NOW)
    assert len(parts) == period.parts
    assert all(one.end == next_.start for one, next_ in pairwise(parts))
    assert parts[-1].start <= NOW < parts[-1].end


def test_parts_begin_at_full_minutes_and_half_hours() -> None:
    assert HOUR.split(NOW)[-1].start == datetime(2026, 11, 29, 23, 14, tzinfo=UTC)
    assert DAY.split(NOW)[-1].start == datetime(2026, 11, 29, 23, 0, tzinfo=UTC)


@pytest.mark.parametrize(("key", "expected"), [("day", DAY), ("year", HOUR), (None, HOUR)])
def test_a_period_that_nobody_knows_is_the_last_hour(key: str | None, expected: Period) -> None:
    assert period_named(key) is expected


def test_all_of_a_period_is_each_of_its_parts() -> None:
    parts = HOUR.split(NOW)
    assert list(sampled(parts, 1.0)) == list(enumerate(parts))


@pytest.mark.parametrize("share", [0.1, 0.001])
def test_a_share_is_the_same_share_of_every_part(share: float) -> None:
    parts = HOUR.split(NOW)
    lengths = dict.fromkeys(range(len(parts)), timedelta(0))
    for number, span in sampled(parts, share):
        assert parts[number].start <= span.start
        assert span.end <= parts[number].end
        lengths[number] += span.length
    for number, part in enumerate(parts):
        assert lengths[number] / part.length == pytest.approx(share, rel=0.01)


def test_a_sample_is_not_in_step_with_the_clock() -> None:
    starts = [span.start - part.start for part, span in _pairs()]
    assert len(set(starts)) > 0.9 * len(starts)


def _pairs() -> list[tuple[Span, Span]]:
    parts = HOUR.split(NOW)
    return [(parts[number], span) for number, span in sampled(parts, 0.01)]
