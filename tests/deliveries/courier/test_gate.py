from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliveries.courier.gate import LONGEST_ABSENCE, PATIENCE, Gate


def gate_with(limit: int, waiters: int, now: float = 0.0) -> Gate[int]:
    gate: Gate[int] = Gate(limit)
    for number in range(waiters):
        gate.enter(number, now)
    return gate


def test_as_many_pass_as_there_is_room_for_and_the_rest_wait_in_order() -> None:
    gate = gate_with(limit=2, waiters=4)
    assert list(gate.under_way) == [0, 1]
    assert list(gate.waiting) == [2, 3]
    assert gate.leave(0, 1.0) == [2]
    assert gate.leave(1, 1.0) == [3]
    assert gate.leave(2, 2.0) == []


def test_a_quick_endpoint_s_burst_may_wait_at_the_gate() -> None:
    gate = gate_with(limit=2, waiters=100)
    for number in range(10):
        gate.leave(number, 0.001 * (number + 1))
    assert gate.send_back(0.011) == []
    assert len(gate.waiting) == 88


def test_a_slow_endpoint_s_burst_is_sent_back_all_but_what_has_its_turn_soon() -> None:
    gate = gate_with(limit=2, waiters=100)
    sent_back = gate.send_back(now=1.0)
    # One second for each of two at a time: two have their turn within a second of patience.
    assert len(gate.waiting) == 2
    assert [waiter for waiter, _ in sent_back] == list(range(4, 100))


def test_they_come_again_one_after_the_other_at_the_endpoint_s_pace() -> None:
    gate = gate_with(limit=2, waiters=10)
    waits = [wait for _, wait in gate.send_back(now=1.0)]
    assert waits == pytest.approx([PATIENCE + 0.5 * (place + 1) for place in range(6)])
    gate.enter(99, 1.0)
    [(_, after)] = gate.send_back(now=1.0)
    assert after == pytest.approx(waits[-1] + 0.5)


def test_nobody_stays_away_for_ever() -> None:
    gate = gate_with(limit=1, waiters=1000)
    assert max(wait for _, wait in gate.send_back(now=10.0)) == LONGEST_ABSENCE


def test_the_mean_duration_follows_the_endpoint() -> None:
    gate: Gate[int] = Gate(1)
    for start in range(50):
        gate.enter(start, start)
        gate.leave(start, start + 0.5)
    assert gate.mean_duration == pytest.approx(0.5, rel=0.01)
    assert gate.idle


def test_an_endpoint_that_asks_for_less_gets_half_once_for_all_that_were_in_flight() -> None:
    gate = gate_with(limit=8, waiters=100)
    for number in range(4):
        assert gate.leave(number, 1.0, throttled=True) == []
    assert gate.width == 4
    assert gate.leave(4, 1.0, throttled=True) == [8]
    for number in (5, 6, 7):
        gate.leave(number, 1.1, throttled=True)
    assert gate.width == 4
    gate.leave(8, 2.0, throttled=True)
    assert (gate.width, len(gate.under_way)) == (2, 3)


def test_it_gets_more_again_bit_by_bit_as_it_takes_what_it_gets() -> None:
    gate = gate_with(limit=8, waiters=1000)
    gate.share = 2 / 8
    widths = []
    while gate.width < 8:
        gate.leave(next(iter(gate.under_way)), 1.0)
        widths.append(gate.width)
    assert widths == sorted(widths)
    assert len(widths) > 20
    assert gate.leave(next(iter(gate.under_way)), 1.0, taken=False)
    assert gate.width == 8


def test_one_is_let_in_however_often_it_asks_for_less() -> None:
    gate = gate_with(limit=4, waiters=100)
    for now in range(1, 20):
        for number in list(gate.under_way):
            gate.leave(number, now, throttled=True)
    assert (gate.width, len(gate.under_way)) == (1, 1)


@given(
    st.integers(1, 5),
    st.lists(st.sampled_from(["enter", "leave", "throttle", "send back"]), max_size=60),
)
def test_whatever_happens_nobody_is_lost_doubled_or_let_in_beyond_the_limit(
    limit: int, steps: list[str]
) -> None:
    gate: Gate[int] = Gate(limit)
    entered, gone = 0, []
    for now, step in enumerate(steps):
        if step == "enter":
            gate.enter(entered, now)
            entered += 1
        elif step in ("leave", "throttle") and gate.under_way:
            leaving = next(iter(gate.under_way))
            gate.leave(leaving, now, throttled=step == "throttle")
            gone.append(leaving)
        elif step == "send back":
            gone += [waiter for waiter, _ in gate.send_back(now)]
        assert len(gate.under_way) <= limit
    assert Counter([*gone, *gate.under_way, *gate.waiting]) == Counter(range(entered))
