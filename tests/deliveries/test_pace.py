import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliveries.pace import Pace, pace_of
from subscriptions.rates import InvalidRate


def test_a_rate_says_how_far_apart_requests_are_and_a_second_s_worth_may_come_at_once() -> None:
    assert pace_of("100/s") == Pace(interval=0.01, burst=100)
    assert pace_of("30/m") == Pace(interval=2.0, burst=1)
    assert pace_of("100/s", 5) == Pace(interval=0.01, burst=5)
    assert pace_of("") is None


def test_what_is_no_rate_is_refused() -> None:
    with pytest.raises(InvalidRate):
        pace_of("fast")


def test_a_burst_goes_at_once_and_the_rest_one_after_another() -> None:
    assert Pace(interval=0.5, burst=3).waits(ahead=0.0, count=5) == [0, 0, 0, 0.5, 1.0]


def test_whoever_comes_later_goes_behind_those_before() -> None:
    assert Pace(interval=0.5, burst=3).waits(ahead=2.5, count=2) == [1.5, 2.0]


@given(st.floats(0.001, 60), st.integers(1, 1000), st.floats(0, 3600), st.integers(0, 200))
def test_no_span_of_time_has_more_than_its_rate_and_one_burst(
    interval: float, burst: int, ahead: float, count: int
) -> None:
    waits = Pace(interval, burst).waits(ahead, count)
    assert waits == sorted(waits)
    for first in range(0, count, 7):
        for last in range(first, count, 11):
            span = waits[last] - waits[first]
            assert last - first + 1 <= burst + span / interval + 1e-6 * count
