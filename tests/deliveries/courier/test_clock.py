from itertools import accumulate

from deliveries.courier.clock import LoopClock


def readings(*gaps: float) -> list[float]:
    moments = accumulate(gaps, initial=1000.0)
    clock = LoopClock(lambda: next(moments))
    return [clock.read() for _ in gaps]


def test_it_goes_as_the_loop_comes_round() -> None:
    assert readings(0.25, 0.25, 1.0) == [0.25, 0.5, 1.5]


def test_it_stands_still_while_the_loop_is_held_up() -> None:
    assert readings(0.25, 9.0, 0.25) == [0.25, 0.25, 0.5]
