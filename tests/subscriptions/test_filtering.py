import logging
from typing import Any
from uuid import uuid4

import pytest
from pytest_django import DjangoCaptureOnCommitCallbacks

from subscriptions.expressions import MAX_STEPS
from subscriptions.filtering import PATIENCE, judge, note_failures, sift
from subscriptions.matching import Match
from subscriptions.models import Subscription
from tests.conftest import MakeEndpoint

COSTLY = "[*].[@,@]|" * 20 + "@"


def match(*filters: str) -> Match:
    wanted = {str(uuid4()): one for one in filters}
    return Match(uuid4(), True, filters=wanted or None)


@pytest.mark.parametrize(
    ("expression", "data", "passes"),
    [
        ("amount > `100`", {"amount": 120}, True),
        ("amount > `100`", {"amount": 80}, False),
        ("amount > `100`", {}, False),
        ("amount", {"amount": 0}, True),
        ("lines[?price > `50`]", {"lines": [{"price": 20}]}, False),
        ("@", [], False),
    ],
)
def test_a_filter_lets_pass_what_makes_it_true(expression: str, data: Any, passes: bool) -> None:
    assert judge(expression, data).passes is passes


@pytest.mark.parametrize(
    ("expression", "data", "error"),
    [
        ("starts_with(name, 'A')", {}, "starts_with() takes string, not null."),
        (COSTLY, [1], "too many steps"),
        ("not an expression (any more)", {}, "Column 5"),
    ],
)
def test_a_filter_that_has_no_value_lets_pass_and_says_why(
    expression: str, data: Any, error: str
) -> None:
    verdict = judge(expression, data)
    assert verdict.passes
    assert verdict.value is None
    assert error in verdict.error


def test_the_data_is_not_asked_for_where_no_match_has_a_filter() -> None:
    matches = [match(), match()]
    sifted = sift(matches, lambda: pytest.fail("somebody asked"))
    assert (sifted.passing, sifted.judged, sifted.failures) == (matches, 2, {})


def test_the_data_is_asked_for_once_however_many_filters_there_are() -> None:
    asked = []

    def data() -> Any:
        asked.append(1)
        return {"n": 1}

    matches = [match("n == `1`"), match("n == `2`"), match(), match("n == `1`")]
    sifted = sift(matches, data)
    assert sifted.passing == [matches[0], matches[2], matches[3]]
    assert asked == [1]


def test_one_filter_that_lets_pass_is_enough() -> None:
    matches = [match("n == `2`", "n == `1`"), match("n == `2`", "n == `3`")]
    assert sift(matches, lambda: {"n": 1}).passing == matches[:1]


def test_a_filter_that_fails_lets_pass_and_is_told_of() -> None:
    one = match("sum(n)")
    assert one.filters is not None
    sifted = sift([one], lambda: {"n": "x"})
    assert sifted.passing == [one]
    assert list(sifted.failures) == list(one.filters)


def costly_filters(count: int) -> list[str]:
    """So many different filters that take all the steps there are."""
    return [f"{COSTLY} == `{n}`" for n in range(count)]


def test_what_takes_long_is_left_for_another_time_after_one_match_at_least() -> None:
    matches = [match(expression) for expression in costly_filters(20)]
    walked = 0
    while walked < len(matches):
        sifted = sift(matches[walked:], lambda: [1])
        assert 0 < sifted.judged <= PATIENCE // MAX_STEPS + 1
        assert len(sifted.passing) == len(sifted.failures) == sifted.judged
        walked += sifted.judged


def test_an_endpoint_with_many_costly_filters_gets_the_event_after_a_few_of_them() -> None:
    sifted = sift([match(*costly_filters(50))], lambda: [1])
    assert (len(sifted.passing), sifted.judged) == (1, 1)
    assert len(sifted.failures) <= PATIENCE // MAX_STEPS + 2


@pytest.mark.django_db
def test_a_failure_is_logged_and_counted_after_the_commit(
    make_endpoint: MakeEndpoint,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    make_endpoint("a", "b")
    failing, other = Subscription.objects.all()
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            note_failures("evt_1", {failing.pk.removeprefix("sbn_"): "too much" * 100})
            failing.refresh_from_db()
            seen = failing.filter_failures
    failing.refresh_from_db()
    other.refresh_from_db()
    assert (seen, failing.filter_failures, other.filter_failures) == (1, 2, 0)
    assert failing.filter_failed_at is not None
    assert failing.filter_error == ("too much" * 100)[:200]
    assert other.filter_failed_at is None
    caplog.clear()
    with caplog.at_level(logging.WARNING), django_capture_on_commit_callbacks(execute=True):
        note_failures("evt_1", {failing.pk.removeprefix("sbn_"): "too much"})
    assert caplog.messages == [f"the filter of {failing.pk} lets evt_1 pass: too much"]
