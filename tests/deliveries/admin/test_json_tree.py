import json

import pytest

from deliveries.admin.json_tree import MAX_DEPTH, MAX_VALUES, OPEN_TO, json_tree


def test_an_object_is_a_list_of_names_and_values_that_folds() -> None:
    assert json_tree('{"amount": 1200, "paid": true, "note": null, "lines": []}') == (
        '<div class="json"><details open><summary>{…} <small>4</small></summary><dl>'
        '<dt>amount</dt><dd><code class="int">1200</code></dd>'
        '<dt>paid</dt><dd><code class="bool">true</code></dd>'
        '<dt>note</dt><dd><code class="none">null</code></dd>'
        '<dt>lines</dt><dd><code class="list">[]</code></dd>'
        "</dl></details></div>"
    )


def test_what_lies_deep_is_folded_up() -> None:
    tree = json_tree('{"a": {"b": {"c": {"d": 1}}}}')
    assert tree.count("<details") == 4
    assert tree.count("<details open>") == OPEN_TO


def test_names_and_values_from_outside_are_escaped_and_nothing_in_them_is_hidden() -> None:
    hostile = "<script>alert('boo')</script>\N{RIGHT-TO-LEFT OVERRIDE}{0}"
    for text in (json.dumps({hostile: [hostile]}), hostile, json.dumps(hostile)):
        tree = json_tree(text)
        assert "<script>" not in tree
        assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in tree
        assert "&lt;script&gt;" in tree
        assert "{0}" in tree


@pytest.mark.parametrize(
    "text",
    [
        "not JSON",
        '"a text"',
        "[" * 100_000,
        json.dumps(list(range(MAX_VALUES))),
        "[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2),
    ],
    ids=["not JSON", "a text", "cut off", "long", "deep"],
)
def test_what_is_no_tree_or_a_large_one_is_shown_as_the_text_that_it_is(text: str) -> None:
    assert json_tree(text).startswith('<pre class="text"')


def test_a_tree_of_as_many_values_as_may_be_is_one() -> None:
    assert json_tree(json.dumps(list(range(MAX_VALUES - 1)))).startswith('<div class="json">')
