from hypothesis import given
from hypothesis import strategies as st

from subscriptions.circuit import STRETCH, Tally, probe_wait, trips
from subscriptions.conf import SubscriptionSettings

SETTINGS = SubscriptionSettings(
    circuit_failure_rate=0.5, circuit_results=10, circuit_wait=30, circuit_wait_max=900
)


def test_it_opens_where_too_large_a_share_of_enough_results_are_failures() -> None:
    assert trips(Tally(successes=5, failures=5), SETTINGS)
    assert not trips(Tally(successes=6, failures=5), SETTINGS)
    assert not trips(Tally(successes=0, failures=9), SETTINGS)


def test_a_share_of_nought_turns_it_off() -> None:
    assert not trips(Tally(failures=1000), SubscriptionSettings(circuit_failure_rate=0))


def test_each_opening_in_a_row_waits_for_twice_as_long_up_to_a_limit() -> None:
    waits = [probe_wait(number, SETTINGS, random=lambda: 0.0) for number in range(1, 8)]
    assert waits == [30, 60, 120, 240, 480, 900, 900]


@given(st.integers(1, 32_000), st.floats(0, 1))
def test_chance_stretches_a_wait_and_never_shortens_it(openings: int, chance: float) -> None:
    bare = probe_wait(openings, SETTINGS, random=lambda: 0.0)
    assert bare <= probe_wait(openings, SETTINGS, random=lambda: chance) <= bare * (1 + STRETCH)
