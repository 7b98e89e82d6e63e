import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriptions.event_types import InvalidEventType, check_name, patterns_matching

words = st.text("abcXYZ019_-", min_size=1, max_size=8)


@pytest.mark.parametrize("name", ["paid", "invoice.paid", "a.b.c.d", "github.check_run.re-run"])
def test_dotted_words_are_event_types(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "invoice.",
        ".paid",
        "a..b",
        "a b",
        "a.*",
        "*",
        "ä.b",
        "a\n",
        "a/b",
        "x" * 129,
        None,
        7,
    ],
)
def test_anything_else_is_refused(name: object) -> None:
    with pytest.raises(InvalidEventType, match="is not an event type"):
        check_name(name)  # type: ignore[arg-type]


def test_the_patterns_of_a_type_go_from_itself_to_everything() -> None:
    assert patterns_matching("invoice.paid.late") == [
        "invoice.paid.late",
        "invoice.paid.*",
        "invoice.*",
        "*",
    ]


@given(st.lists(words, min_size=1, max_size=5), st.lists(words, min_size=1, max_size=5))
def test_a_pattern_matches_what_is_below_it_and_nothing_else(
    name: list[str], other: list[str]
) -> None:
    below = other[: len(name)] == name and len(other) > len(name)
    assert (".".join(name) + ".*" in patterns_matching(".".join(other))) is below
