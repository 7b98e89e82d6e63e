import os
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
import redis

from deliveries import turns
from deliveries.pace import Pace
from deliveries.turns import Ask, Turnstiles, Waiter
from tests.conftest import Configure
from tests.processes import wait_until

REDIS_URL = os.environ["REDIS_URL"]
SLOW = Pace(interval=10.0, burst=2)
MINUTELY = 60.0


@pytest.fixture
def endpoint() -> UUID:
    return uuid4()


def take(ask: Ask, patience: float = 0.0) -> turns.Turns:
    given = Turnstiles(REDIS_URL).take(turns.SENDING, [ask], patience=patience)
    assert given is not None
    return given[0]


def stand(endpoint: UUID, *, ahead: float) -> None:
    """Have a line of an hour at an endpoint, whose clock is so many seconds ahead, or behind."""
    with redis.Redis.from_url(REDIS_URL) as client:
        now = client.time()[0]
        key = f"angarium:turn:{turns.SENDING}:{endpoint.hex}"
        client.hset(key, mapping={"clock": now + ahead, "line": now + 3600})


def near(*waits: float) -> object:
    return pytest.approx(waits, abs=1.0)


def test_a_burst_goes_and_the_others_come_again_one_after_another(endpoint: UUID) -> None:
    answer = take(Ask(endpoint, SLOW, 5))
    assert answer.go == [0, 0]
    assert answer.come_again == near(10, 20, 30)


def test_who_comes_later_goes_behind_the_line(endpoint: UUID) -> None:
    take(Ask(endpoint, SLOW, 5))
    assert take(Ask(endpoint, SLOW, 2)).come_again == near(40, 50)


def test_who_has_waited_goes_before_the_line(endpoint: UUID) -> None:
    quick = Pace(interval=0.1, burst=1)
    take(Ask(endpoint, quick, 100))
    assert take(Ask(endpoint, quick, 1)).go == []
    assert len(take(Ask(endpoint, quick, 1, waited=True), patience=1.0).go) == 1


def test_one_that_comes_again_too_soon_goes_to_the_end_of_the_line(endpoint: UUID) -> None:
    take(Ask(endpoint, SLOW, 4))
    again = take(Ask(endpoint, SLOW, 1, waited=True))
    assert (again.go, again.come_again) == ([], near(30))


@pytest.mark.parametrize(("burst", "left", "go"), [(1, 3, 1), (2, 3, 1), (3, 3, 2), (6, 9, 3)])
def test_a_line_that_leaves_its_turns_unused_keeps_half_of_the_burst(
    endpoint: UUID, burst: int, left: int, go: int
) -> None:
    stand(endpoint, ahead=-left * MINUTELY)
    pace = Pace(MINUTELY, burst)
    others = take(Ask(endpoint, pace, 9))
    assert (len(others.go), others.come_again[0]) == (go, pytest.approx(3600, abs=5))
    assert len(take(Ask(endpoint, pace, 9, waited=True)).go) == burst - go


@pytest.mark.parametrize(("burst", "ahead"), [(1, -0.5), (2, 0.5), (3, 1.5), (6, 3)])
def test_who_has_not_waited_has_no_turn_that_one_who_waits_may_still_come_for(
    endpoint: UUID, burst: int, ahead: float
) -> None:
    stand(endpoint, ahead=ahead * MINUTELY)
    pace = Pace(MINUTELY, burst)
    assert take(Ask(endpoint, pace, 9), patience=MINUTELY).go == []
    assert take(Ask(endpoint, pace, 1, waited=True)).go == [0]


def test_those_who_are_refused_do_not_keep_each_other_from_what_is_left(endpoint: UUID) -> None:
    pace = Pace(interval=0.2, burst=1)
    take(Ask(endpoint, pace, 1000))
    wait_until(lambda: take(Ask(endpoint, pace, 1)).go, "a turn that the line leaves", pause=0.01)


def test_with_patience_more_have_a_turn_and_wait_for_it(endpoint: UUID) -> None:
    answer = take(Ask(endpoint, SLOW, 5), patience=25.0)
    assert answer.go == near(0, 0, 10, 20)
    assert answer.come_again == near(30)


def test_all_workers_share_one_clock(endpoint: UUID) -> None:
    pace = Pace(interval=1000.0, burst=50)

    def take_twenty(_: int) -> int:
        return sum(len(take(Ask(endpoint, pace, 1)).go) for _ in range(20))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take_twenty, range(8))) == 50


def test_each_purpose_and_each_endpoint_has_a_clock_of_its_own(endpoint: UUID) -> None:
    turnstiles = Turnstiles(REDIS_URL)
    asks = [Ask(endpoint, SLOW, 2), Ask(uuid4(), SLOW, 2)]
    for purpose in (turns.SENDING, turns.RELEASING):
        given = turnstiles.take(purpose, asks, patience=0.0)
        assert given is not None
        assert [one.go for one in given] == [[0, 0], [0, 0]]


def test_deliveries_of_one_endpoint_go_in_their_order_and_those_that_waited_first(
    endpoint: UUID,
) -> None:
    new, old, free = ([uuid4() for _ in range(3)] for _ in range(3))
    waiters = [
        *(Waiter(one, endpoint, SLOW) for one in new),
        *(Waiter(one, endpoint, SLOW, waited=True) for one in old),
        *(Waiter(one, uuid4(), None) for one in free),
    ]
    waits = turns.waits(turns.SENDING, waiters, patience=0.0)
    assert [waits[one] for one in free] == [0, 0, 0]
    assert [waits[one] for one in old] == near(0, 0, 10)
    assert [waits[one] for one in new] == near(20, 30, 40)


def test_while_redis_is_away_nobody_waits(endpoint: UUID, configure: Configure) -> None:
    configure(REDIS_URL="redis://127.0.0.1:9/0")
    waiters = [Waiter(uuid4(), endpoint, SLOW) for _ in range(5)]
    assert set(turns.waits(turns.SENDING, waiters, patience=0.0).values()) == {0.0}
