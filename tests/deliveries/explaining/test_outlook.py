from datetime import timedelta
from typing import Any

import pytest

from deliveries.explaining.outlook import Outlook, answer, foresee
from deliveries.explaining.rules import decide
from deliveries.models import DeadLetter, Delivery, StateChange
from subscriptions.history import HistoryEntry
from subscriptions.ids import new_id
from tests.deliveries.explaining.conftest import EMITTED, MakeFacts, after, attempted


@pytest.fixture
def told(make_facts: MakeFacts) -> Any:
    """How it stands, and what happens next."""

    def tell(*state: str, **options: Any) -> tuple[str, Outlook]:
        facts = make_facts(*state, **options)
        matching = decide(facts)
        return answer(facts, matching), foresee(facts, matching)

    return tell


def letter(reason: str = "exhausted", **fields: Any) -> DeadLetter:
    error = "answered 500 Internal Server Error"
    return DeadLetter(**{"reason": reason, "last_error": error, "died_at": after(9), **fields})


PAUSED = HistoryEntry(
    kind="endpoint",
    action="changed",
    at=after(3),
    changes={"state": ["active", "paused"]},
    actor_kind="user",
    actor_id="1",
    actor_name="jamshid",
)


def test_every_state_has_its_answer_and_what_follows(told: Any) -> None:
    for state in Delivery.State:
        how, then = told(state)
        assert how.endswith(".")
        assert then.sentence.endswith(".")


def test_without_a_delivery_the_rule_answers_and_nothing_follows(told: Any) -> None:
    how, then = told(subscriptions=[])
    assert how == "There is no delivery. The endpoint has no subscription."
    assert then.sentence.startswith("Nothing:")


def test_while_the_fan_out_is_under_way_it_is_not_decided(told: Any) -> None:
    assert "fan-out" in told(is_reached=False)[1].sentence


def test_what_is_pending_is_enqueued_again_when_its_message_is_lost(told: Any) -> None:
    _, then = told("pending", delivery={"rung_at": after(2)})
    assert "since 2026-07-01 12:00:02 UTC" in then.sentence
    assert then.at == after(2 + 30)


def test_what_is_sent_has_a_lease(told: Any) -> None:
    how, then = told("sending", delivery={"attempt_number": 2, "lease_expires_at": after(30)})
    assert how == "Attempt 2 is under way."
    assert then.at == after(30)


def test_what_waits_says_what_failed_and_which_try_comes_when(told: Any) -> None:
    how, then = told(
        "waiting",
        delivery={"attempt_number": 2, "round_start": 1, "next_attempt_at": after(300)},
        attempts=[attempted(1, 1), attempted(2, 6)],
    )
    assert how == ("It waits for its next attempt. Attempt 2: answered 500 Internal Server Error.")
    assert then == Outlook("Attempt 3 follows (try 2 of 10).", after(300))


def test_the_last_try_is_called_so(told: Any) -> None:
    _, then = told("waiting", delivery={"attempt_number": 9, "next_attempt_at": after(300)})
    assert then.sentence == "Attempt 10 follows (try 10 of 10, the last)."


def test_what_was_put_back_says_so_and_not_that_an_attempt_failed(told: Any) -> None:
    back = StateChange(at=after(5), was="sending", became="waiting", cause="put_back", times=1)
    how, _ = told("waiting", attempts=[attempted(1, 1)], state_changes=[back])
    assert "as much in flight, or as many requests a second, as it may have" in how
    how, _ = told("waiting", attempts=[attempted(1, 9)], state_changes=[back])
    assert "answered 500" in how


def test_what_waits_for_an_endpoint_that_is_paused_will_be_held(told: Any) -> None:
    _, then = told(
        "waiting",
        endpoint={"state": "paused"},
        moved=PAUSED,
        delivery={"next_attempt_at": after(300)},
    )
    assert then.at == after(300)
    assert "it is held" in then.sentence
    assert "paused since 2026-07-01 12:00:03 UTC, by jamshid" in then.sentence


def test_what_is_held_says_since_when_and_by_whom_and_until_when_at_most(told: Any) -> None:
    how, then = told("held", endpoint={"state": "paused"}, moved=PAUSED)
    assert how == "It is held. The endpoint is paused since 2026-07-01 12:00:03 UTC, by jamshid."
    assert then.sentence.startswith("It is released when the endpoint is resumed.")
    assert then.at == EMITTED + timedelta(days=30)


def test_what_is_held_for_a_disabled_endpoint_says_why_that_is(told: Any) -> None:
    how, _ = told("held", endpoint={"state": "disabled", "disabled_reason": "It answered 410."})
    assert how == "It is held. The endpoint is disabled: It answered 410."


@pytest.mark.parametrize(("state", "when"), [("active", "its turn"), ("deleted", "within seconds")])
def test_what_is_held_for_an_endpoint_that_is_not_at_rest_is_so_no_longer(
    told: Any, state: str, when: str
) -> None:
    _, then = told("held", endpoint={"state": state})
    assert when in then.sentence
    assert then.at is None


def test_what_is_held_while_a_circuit_is_open_says_when_that_is_probed(told: Any) -> None:
    circuit = {"circuit": "open", "circuit_opened_at": after(3), "openings": 1}
    how, then = told("held", endpoint={**circuit, "probe_at": after(33)})
    assert how.startswith(
        "It is held. The endpoint's circuit is open since 2026-07-01 12:00:03 UTC"
    )
    assert then.sentence == (
        "It is released when the circuit is closed: a delivery probes the endpoint then."
    )
    assert then.at == after(33)


def test_what_is_queued_names_what_it_waits_for(told: Any) -> None:
    ahead = Delivery(id=new_id("dlv"), state="waiting")
    how, then = told("queued", ahead=ahead, delivery={"ordering_key": "order-1"})
    assert how == f"It waits behind {ahead.pk} of its ordering key “order-1”, which is waiting."
    assert "moves up" in then.sentence
    assert "moves up within seconds" in told("queued")[1].sentence


def test_what_gathers_goes_when_there_are_enough_or_at_a_time(told: Any) -> None:
    _, then = told("gathering", endpoint={"batch_events": 50, "batch_seconds": 5})
    assert then == Outlook("It is sent when 50 have gathered, or by then.", after(5))


def test_what_is_batched_goes_with_its_lead(told: Any) -> None:
    lead = Delivery(id=new_id("dlv"), state="waiting", next_attempt_at=after(300))
    how, then = told("batched", delivery={"lead": lead})
    assert lead.pk in how
    assert then == Outlook("It shares the fate of its lead, which is waiting.", after(300))


def test_what_arrived_says_by_which_attempt(told: Any) -> None:
    arrived = attempted(2, 6, outcome="delivered", status=200, error="")
    how, then = told("delivered", attempts=[attempted(1, 1), arrived])
    assert how == "It was delivered by attempt 2."
    assert then == Outlook("Nothing: it has arrived.")


def test_what_is_dead_says_why_and_until_when_it_may_be_redriven(told: Any) -> None:
    how, then = told("dead", dead_letters=[letter()])
    assert how == (
        "It was given up: every attempt of the retry schedule failed. "
        "Its last error: answered 500 Internal Server Error."
    )
    assert then.sentence == (
        "It is redriven by itself once the endpoint has taken another delivery. "
        "It may be redriven until it is discarded then."
    )
    assert then.at == after(9) + timedelta(days=30)


@pytest.mark.parametrize(
    "options",
    [
        {"dead_letters": [letter("gone")]},
        {"dead_letters": [letter(resolution="recovered"), letter()]},
        {"dead_letters": [letter()], "delivery": {"ordering_key": "order-1"}},
    ],
    ids=["gone", "redriven before", "ordered"],
)
def test_what_is_never_redriven_by_itself_says_so(told: Any, options: dict[str, Any]) -> None:
    assert told("dead", **options)[1].sentence.startswith("Nothing by itself.")


def test_what_was_discarded_says_whose_decision_it_was(told: Any) -> None:
    decided = StateChange(
        was="dead",
        became="discarded",
        cause="discarded",
        actor_kind="user",
        actor_id="1",
        actor_name="jamshid",
    )
    how, then = told("discarded", state_changes=[decided])
    assert how == "It was discarded. That was jamshid's decision."
    assert then.at is None
