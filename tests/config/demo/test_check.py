from dataclasses import replace

import pytest

from config.demo.cast import ALWAYS, Receiver
from config.demo.check import Arrival, End, differences
from deliveries.event_lines import WrittenEvent

EMITTED = [WrittenEvent("order.placed", {"order": 1}), WrittenEvent("user.created", {"user": 1})]

WORKS = Receiver("flaky", "fails twice", ("order.*",), failures=2)
DELIVERED = End("evt_1", "delivered", attempts=3)
ARRIVED = Arrival("evt_1", "order.placed", {"order": 1})

FAILS = Receiver("down", "always fails", ("order.*",), failures=ALWAYS)
DEAD = End("evt_1", "dead", attempts=5, reason="exhausted")


def found(receiver: Receiver, ends: list[End], arrivals: list[Arrival]) -> str:
    return "\n".join(differences(receiver, EMITTED, ends, arrivals, max_attempts=5))


def test_what_ended_as_it_should_have_is_not_spoken_of() -> None:
    assert found(WORKS, [DELIVERED], [ARRIVED]) == ""
    assert found(FAILS, [DEAD], []) == ""


@pytest.mark.parametrize(
    ("end", "difference"),
    [
        (replace(DELIVERED, attempts=4), "there are 1 delivered at attempt 4"),
        (replace(DELIVERED, state="waiting"), "there are 1 waiting at attempt 3"),
        (DEAD, "expected 1 delivered at attempt 3; there are 1 dead (exhausted) at attempt 5"),
    ],
)
def test_an_end_that_should_have_been_another_is_told(end: End, difference: str) -> None:
    assert difference in found(WORKS, [end], [ARRIVED])


def test_a_death_for_another_reason_is_told() -> None:
    assert "dead (gone)" in found(FAILS, [replace(DEAD, reason="gone")], [])


def test_a_delivery_that_was_not_made_is_told() -> None:
    assert "there are none" in found(WORKS, [], [])


def test_a_handler_that_ran_twice_is_told() -> None:
    assert "more than once for 1 events" in found(WORKS, [DELIVERED], [ARRIVED, ARRIVED])


def test_a_handler_that_did_not_run_is_told() -> None:
    assert "ran for other events than were delivered" in found(WORKS, [DELIVERED], [])


@pytest.mark.parametrize(
    "arrival", [replace(ARRIVED, data={"order": 2}), replace(ARRIVED, type="order.cancelled")]
)
def test_content_that_changed_on_the_way_is_told(arrival: Arrival) -> None:
    assert "1 arrived that were not emitted so" in found(WORKS, [DELIVERED], [arrival])
