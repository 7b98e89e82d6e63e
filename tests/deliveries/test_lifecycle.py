import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliveries.conf import DeliverySettings
from deliveries.lifecycle import FINAL, SENT_AGAIN, TRANSITIONS, Reason, State, Verdict, verdict
from webhooks.sending.outcome import Outcome, OutcomeKind

SETTINGS = DeliverySettings(retry_schedule=(5.0, 300.0), jitter=0.0)

outcomes = st.builds(
    Outcome,
    kind=st.sampled_from(OutcomeKind),
    status=st.none() | st.integers(100, 599),
    retry_after=st.none() | st.floats(0, 1e6),
)


def judge(kind: OutcomeKind, status: int | None = None, tries: int = 1, **more: float) -> Verdict:
    return verdict(
        Outcome(kind=kind, status=status, **more),  # type: ignore[arg-type]
        tries=tries,
        settings=SETTINGS,
        random=lambda: 0.0,
    )


def test_a_2xx_is_delivered() -> None:
    assert judge(OutcomeKind.DELIVERED, 204) == Verdict(State.DELIVERED)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (OutcomeKind.REJECTED, 400),
        (OutcomeKind.REJECTED, 401),
        (OutcomeKind.REJECTED, 404),
        (OutcomeKind.REJECTED, 500),
        (OutcomeKind.REDIRECTED, 307),
        (OutcomeKind.TIMED_OUT, None),
        (OutcomeKind.CONNECTION_FAILED, None),
        (OutcomeKind.NAME_NOT_RESOLVED, None),
        (OutcomeKind.TLS_FAILED, None),
        (OutcomeKind.UNRENDERABLE, None),
    ],
)
def test_a_failure_is_tried_again_by_the_schedule_until_it_is_dead(
    kind: OutcomeKind, status: int | None
) -> None:
    assert judge(kind, status, tries=1) == Verdict(State.WAITING, wait=5.0)
    assert judge(kind, status, tries=2) == Verdict(State.WAITING, wait=300.0)
    assert judge(kind, status, tries=3).state is State.DEAD


def test_the_reason_of_a_death_tells_the_endpoint_s_fault_from_ours() -> None:
    assert judge(OutcomeKind.REJECTED, 500, tries=3).reason is Reason.EXHAUSTED
    assert judge(OutcomeKind.UNRENDERABLE, tries=3).reason is Reason.UNRENDERABLE


def test_410_gone_ends_a_delivery_at_once() -> None:
    assert judge(OutcomeKind.REJECTED, 410) == Verdict(State.DEAD, reason=Reason.GONE)


def test_a_refused_url_ends_a_delivery_at_once() -> None:
    assert judge(OutcomeKind.ADDRESS_REFUSED) == Verdict(State.DEAD, reason=Reason.ADDRESS_REFUSED)


def test_a_name_that_resolves_to_a_refused_address_is_tried_again() -> None:
    assert judge(OutcomeKind.NAME_REFUSED, tries=1).state is State.WAITING
    last = judge(OutcomeKind.NAME_REFUSED, tries=3)
    assert last == Verdict(State.DEAD, reason=Reason.ADDRESS_REFUSED)


@pytest.mark.parametrize("status", [400, 429, 500, 502, 503, 504])
def test_retry_after_is_honoured_whatever_the_failure(status: int) -> None:
    assert judge(OutcomeKind.REJECTED, status, retry_after=60).wait == 60
    assert judge(OutcomeKind.REJECTED, status, retry_after=1).wait == 5
    assert judge(OutcomeKind.REJECTED, status, retry_after=1e9).wait == SETTINGS.retry_after_max


def test_an_interrupted_attempt_is_followed_at_once_yet_not_for_ever() -> None:
    assert judge(OutcomeKind.INTERRUPTED, tries=1) == Verdict(State.WAITING, wait=0.0)
    assert judge(OutcomeKind.INTERRUPTED, tries=2) == Verdict(State.WAITING, wait=0.0)
    assert judge(OutcomeKind.INTERRUPTED, tries=3).state is State.DEAD


@given(outcomes, st.integers(1, 20), st.floats(0, 1))
def test_every_outcome_leads_to_a_state_that_may_follow_sending(
    outcome: Outcome, tries: int, random: float
) -> None:
    follows = verdict(outcome, tries=tries, settings=SETTINGS, random=lambda: random)
    assert follows.state in TRANSITIONS[State.SENDING]
    assert (follows.wait is not None) == (follows.state is State.WAITING)
    assert (follows.reason is not None) == (follows.state is State.DEAD)
    if follows.wait is not None:
        assert tries < SETTINGS.max_attempts


def test_nothing_follows_a_final_state_by_itself() -> None:
    # What a person may still do: send it again, or discard a dead one.
    assert {state: TRANSITIONS[state] - SENT_AGAIN for state in FINAL} == {
        State.DELIVERED: frozenset(),
        State.DEAD: {State.DISCARDED},
        State.DISCARDED: frozenset(),
    }
    assert set(TRANSITIONS) == set(State)
