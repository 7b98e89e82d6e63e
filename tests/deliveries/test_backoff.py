from hypothesis import given
from hypothesis import strategies as st

from deliveries.backoff import wait_before_retry
from deliveries.conf import DeliverySettings

waits = st.lists(st.floats(0, 100_000), min_size=1, max_size=20)


def test_the_default_schedule_is_the_one_of_standard_webhooks() -> None:
    schedule = DeliverySettings().retry_schedule
    assert [wait_before_retry(tries, schedule) for tries in range(1, 11)] == [
        5,
        300,
        1_800,
        7_200,
        18_000,
        36_000,
        50_400,
        72_000,
        86_400,
        None,
    ]


@given(waits, st.integers(1, 30))
def test_each_try_has_its_wait_and_the_one_after_the_last_has_none(
    schedule: list[float], tries: int
) -> None:
    wait = wait_before_retry(tries, schedule)
    assert wait == (schedule[tries - 1] if tries <= len(schedule) else None)


@given(waits, st.floats(0, 1))
def test_jitter_stretches_a_wait_and_never_shortens_it(schedule: list[float], share: float) -> None:
    wait = wait_before_retry(1, schedule, stretch=share)
    assert wait is not None
    assert schedule[0] <= wait <= schedule[0] * 2


@given(waits, st.floats(0, 1_000_000), st.floats(0, 1_000_000))
def test_retry_after_puts_a_retry_off_up_to_its_cap_and_never_brings_it_forward(
    schedule: list[float], retry_after: float, cap: float
) -> None:
    wait = wait_before_retry(1, schedule, retry_after=retry_after, retry_after_max=cap)
    assert wait is not None
    assert wait >= schedule[0]
    assert wait <= max(schedule[0], cap)
    if retry_after <= cap:
        assert wait >= retry_after


def test_retry_after_grants_no_further_try() -> None:
    assert wait_before_retry(2, [5.0], retry_after=60, retry_after_max=60) is None
