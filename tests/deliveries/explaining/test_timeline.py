from typing import Any

import pytest

from deliveries.explaining.timeline import CAUSES, REASONS, Moment, tell
from deliveries.models import DeadLetter, Delivery, StateChange
from subscriptions.history import HistoryEntry
from subscriptions.ids import new_id
from tests.deliveries.explaining.conftest import EMITTED, MakeFacts, after, attempted


def change(seconds: float, was: str, became: str, cause: str, **fields: Any) -> StateChange:
    return StateChange(
        at=after(seconds),
        was=was,
        became=became,
        cause=cause,
        **{"detail": "", "times": 1, "actor_kind": "angarium", **fields},
    )


def path(moments: list[Moment]) -> list[tuple[float, str]]:
    """When it came to which state."""
    return [((one.at - EMITTED).total_seconds(), one.state) for one in moments if one.state]


def test_every_cause_and_every_reason_has_its_words() -> None:
    assert set(CAUSES) == set(StateChange.Cause)
    assert set(REASONS) == set(DeadLetter.Reason)


def test_an_event_without_a_delivery_was_emitted_and_no_more(make_facts: MakeFacts) -> None:
    assert [one.sentence for one in tell(make_facts())] == ["The event was emitted."]


def test_attempts_tell_of_the_states_on_the_plain_way(make_facts: MakeFacts) -> None:
    arrived = attempted(2, 10, outcome="delivered", status=204, error="")
    moments = tell(make_facts("delivered", attempts=[attempted(1, 1), arrived]))
    assert path(moments) == [
        (0, "pending"),
        (0.9, "sending"),
        (1, "waiting"),
        (9.9, "sending"),
        (10, "delivered"),
    ]
    assert [one.sentence for one in moments if one.attempt] == [
        "Attempt 1: answered 500 Internal Server Error.",
        "Attempt 2: answered 204, delivered.",
    ]


def test_the_attempt_after_which_it_died_says_why(make_facts: MakeFacts) -> None:
    letter = DeadLetter(id=new_id("dead"), reason="exhausted", died_at=after(1))
    moments = tell(make_facts("dead", attempts=[attempted(1, 1)], dead_letters=[letter]))
    assert path(moments)[-1] == (1, "dead")
    assert moments[-1].dead_letter is letter
    assert moments[-1].sentence == (
        "Attempt 1: answered 500 Internal Server Error. "
        "It was given up: every attempt of the retry schedule failed."
    )


def test_what_no_attempt_tells_of_is_told_with_its_cause_and_whose_it_was(
    make_facts: MakeFacts,
) -> None:
    moments = tell(
        make_facts(
            "pending",
            attempts=[attempted(1, 1)],
            state_changes=[
                change(6, "waiting", "held", "endpoint_disabled", detail="It answered 410."),
                change(60, "held", "pending", "released"),
                change(70, "pending", "waiting", "put_back", times=3),
                change(
                    80,
                    "dead",
                    "pending",
                    "redriven",
                    actor_kind="user",
                    actor_id="1",
                    actor_name="jamshid",
                ),
            ],
        )
    )
    assert path(moments) == [
        (0, "pending"),
        (0.9, "sending"),
        (1, "waiting"),
        (6, "held"),
        (60, "pending"),
        (70, "waiting"),
        (80, "pending"),
    ]
    disabled, released, put_back, redriven = moments[-4:]
    assert disabled.sentence == "It was held: the endpoint was disabled: It answered 410."
    assert released.by == "Angarium"
    assert put_back.sentence.endswith("This was the last of 3 times.")
    assert redriven.by == "jamshid"


def test_a_cause_that_is_not_known_is_named(make_facts: MakeFacts) -> None:
    moments = tell(make_facts("pending", state_changes=[change(1, "dead", "pending", "mended")]))
    assert moments[-1].sentence == "It was mended."


@pytest.mark.parametrize(
    ("state", "changes", "first"),
    [
        ("pending", [], "pending"),
        ("held", [], "held"),
        ("queued", [], "queued"),
        ("gathering", [], "gathering"),
        ("sending", [], "pending"),
        ("pending", [("queued", "pending", "moved_up")], "queued"),
        ("pending", [("held", "pending", "released")], "held"),
        ("waiting", [("sending", "waiting", "put_back")], "pending"),
    ],
)
def test_what_came_first_tells_how_it_began(
    make_facts: MakeFacts, state: str, changes: list[tuple[str, str, str]], first: str
) -> None:
    told = [change(1, *one) for one in changes]
    assert path(tell(make_facts(state, state_changes=told)))[0] == (0, first)


def test_a_delivery_in_a_batch_gathered_and_went_into_it(make_facts: MakeFacts) -> None:
    lead = Delivery(id=new_id("dlv"))
    facts = make_facts("batched", delivery={"lead": lead}, batched_at=after(5))
    assert path(tell(facts)) == [(0, "gathering"), (5, "batched")]
    assert lead.pk in tell(facts)[-1].sentence


def test_an_interrupted_attempt_does_not_say_when_it_began(make_facts: MakeFacts) -> None:
    lost = attempted(1, 60, outcome="interrupted", status=None, duration_ms=0, error="Lost.")
    assert path(tell(make_facts("waiting", attempts=[lost]))) == [(0, "pending"), (60, "waiting")]


def test_what_people_changed_meanwhile_stands_between(make_facts: MakeFacts) -> None:
    paused = HistoryEntry(
        kind="endpoint",
        action="changed",
        object_id="ep_1",
        at=after(3),
        changes={"state": ["active", "paused"]},
        actor_kind="user",
        actor_id="1",
        actor_name="jamshid",
    )
    moments = tell(make_facts("held", history=[paused]))
    assert moments[-1].sentence == "The endpoint ep_1 was changed: state: active → paused."
    assert (moments[-1].by, moments[-1].state) == ("jamshid", "")
