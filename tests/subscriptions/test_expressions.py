"""Expressions are strangers' code that we run: what they can cost is bounded, whatever they say."""

import contextlib
import json
import math
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from subscriptions.expressions import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_NODES,
    MAX_STEPS,
    Budget,
    EvaluationError,
    Expression,
    InvalidExpression,
    TooCostly,
    is_true,
)

PAID = {
    "amount": 120,
    "currency": "EUR",
    "customer": {"country": "IR", "tags": ["vip", "trade"]},
    "lines": [{"sku": "a", "price": 20}, {"sku": "b", "price": 100}],
    "note": None,
}


def evaluate(expression: str, data: Any = PAID) -> Any:
    return Expression.parse(expression).evaluate(data)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("amount", 120),
        ("customer.country", "IR"),
        ("missing.thing", None),
        ("amount > `100` && currency == 'EUR'", True),
        ("lines[?price > `50`].sku", ["b"]),
        ("lines[].price | sum(@)", 120),
        ("sort_by(lines, &price)[-1].sku", "b"),
        ("contains(customer.tags, 'vip')", True),
        ("{total: amount, skus: lines[*].sku}", {"total": 120, "skus": ["a", "b"]}),
        ("not_null(note, currency)", "EUR"),
        ("to_number('12.5')", 12.5),
        ("length(@)", 5),
    ],
)
def test_an_expression_says_what_jmespath_says(expression: str, value: Any) -> None:
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("currency > `1`", None),
        ("amount < 'x'", None),
        ("`true` < `2`", None),
        ("contains(currency, `1`)", False),
        ("to_number('nan')", None),
        ("to_number('1_000')", None),
        ("to_number(' 1')", None),
        ("to_number(`true`)", None),
    ],
)
def test_what_python_would_make_of_it_is_not_what_counts(expression: str, value: Any) -> None:
    assert evaluate(expression) is value


@pytest.mark.parametrize("value", [None, False, "", [], {}])
def test_what_is_nothing_is_not_true(value: Any) -> None:
    assert not is_true(value)


@pytest.mark.parametrize("value", [True, 0, 0.0, 1, "false", [None], {"a": None}])
def test_all_else_is_true(value: Any) -> None:
    assert is_true(value)


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", None, "empty"),
        ("a[", 2, "Column 3: .*ends too early"),
        ("a ==", 4, "Column 5: .*ends too early"),
        ("a..b", 2, "Column 3: “.” is not expected here"),
        ("a b", 2, "Column 3: “b” is not expected here"),
        ("a = 'x'", 2, "Column 3: Unknown token '='"),
        ("a == 'x", 5, "Column 6: Unclosed ' delimiter"),
        ("a && shout(b)", 5, r"Column 6: There is no function shout\(\): use abs, avg"),
        ("length(a, b)", 0, r"Column 1: length\(\) takes 1 argument, not 2"),
        ("a.join(b)", 2, r"Column 3: join\(\) takes 2 arguments, not 1"),
        ("merge()", 0, r"Column 1: merge\(\) takes at least 1 argument, not 0"),
        ("a == 'x\0'", 7, "Column 8: A NUL"),
        ("a == '\ud800'", 6, "Column 7: A lone surrogate"),
        ("&a", None, "can only be given to map, sort_by"),
        ("[&a]", None, "can only be given to"),
        ("to_string(&a)", None, "can only be given to"),
        ("sort_by(&a, &b)", None, "can only be given to"),
        ("a[::0]", None, "steps of 0"),
        ("map(&a, &a)", None, "can only be given to"),
        ("`NaN`", None, "what JSON cannot"),
        ("`[1e999]`", None, "what JSON cannot"),
        (r'`"\ud800"`', None, "what JSON cannot"),
        (r'{"\ud800": a}', None, "what JSON cannot"),
        ("a" * (MAX_BYTES + 1), None, "1025 bytes: 1024 are the limit"),
        ("'" + "ü" * (MAX_BYTES // 2) + "'", None, "1026 bytes: 1024 are the limit"),
        ("(" * 500 + "a" + ")" * 500, None, "nested too deeply"),
        ("!" * MAX_DEPTH + "a", None, "nested too deeply: 50 levels"),
        ("[" + "@," * MAX_NODES + "@]", None, "too many parts: 400 are the limit"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_place_and_the_reason(
    text: str, position: int | None, reason: str
) -> None:
    with pytest.raises(InvalidExpression, match=reason) as refused:
        Expression.parse(text)
    assert refused.value.position == position


def test_an_expression_is_parsed_once() -> None:
    assert Expression.parse("a.b.c") is Expression.parse("a.b.c")


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("starts_with(note, 'x')", r"starts_with\(\) takes string, not null"),
        ("sum(customer.tags)", r"sum\(\) takes array of number, not string"),
        ("sort_by(lines, &sku.x)", r"sort_by\(\) takes string or number, not null"),
        ('min_by(`[{"a": 1}, {"a": "x"}]`, &a)', "no value for this data"),
        ("sum(`[1e308, 1e308]`)", "a number that JSON cannot say"),
        ("sum([`1" + "0" * 400 + "`, `0.5`])", "no value for this data"),
    ],
)
def test_an_expression_without_a_value_says_why_and_shows_no_data(
    expression: str, reason: str
) -> None:
    with pytest.raises(EvaluationError, match=reason) as failed:
        evaluate(expression)
    assert "EUR" not in str(failed.value)
    assert "vip" not in str(failed.value)


WIDE = list(range(40_000))
HOSTILE: list[tuple[str, Any]] = [
    ("[@,@]|" * 30 + "@", "x"),
    ("{a:@,b:@}|" * 30 + "@", "x"),
    ("[[@,@]|[@,@]|[@,@]|[@,@]|[@,@]|[@,@]|[@,@]][]" + "|[@,@][]" * 25, "x"),
    ("[*].[@,@]|" * 20 + "@", [1]),
    ("map(&map(&map(&map(&@, $), $), $), @)".replace("$", "`" + json.dumps([1] * 60) + "`"), WIDE),
    ("[*].[`" + json.dumps([1] * 200) + "`]", WIDE),
    ("to_string([" * 15 + "@" + "])" * 15, '"' * 1000),
    ("join(@, [@,@])|" * 20 + "@", "x" * 100),
    ("join(a, b)", {"a": "x" * 100_000, "b": [""] * 40_000}),
    ("[@,@]|" * 15 + "[@,@]|[0]==[1]", "x"),
    ("[@,@]|" * 20 + "to_string(@)", "x"),
    ("[@,@]|" * 20 + "contains(@, 'x')", "x"),
    ("[@,@,@,@]|[*].to_string(@)|" * 8 + "@", [10**4000]),
    ("[?[?[?[?@]]]]", [[[[1] * 20] * 20] * 20] * 20),
    (
        "*.*.*.*.*",
        {
            str(a): {str(b): {str(c): {"d": 1} for c in range(40)} for b in range(40)}
            for a in range(40)
        },
    ),
    ("[" + ",".join(["contains(@,`-1`)"] * 40) + "]", WIDE),
    ("[" + ",".join(["sort(@)"] * 60) + "]", WIDE),
    ("[" + ",".join(["reverse(@)"] * 60) + "]", "x" * 250_000),
    ("[" + ",".join(["@[]"] * 40) + "]", [WIDE]),
    ("[" + ",".join(["@[::2]"] * 40) + "]", WIDE),
    ("merge(" + ",".join(["@"] * 100) + ")", {str(n): n for n in WIDE}),
]


@pytest.mark.parametrize(("expression", "data"), HOSTILE, ids=[text[:40] for text, _ in HOSTILE])
def test_a_hostile_expression_ends_within_its_steps(expression: str, data: Any) -> None:
    calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    parsed = Expression.parse(expression)
    budget = Budget()
    sys.setprofile(count)
    try:
        with pytest.raises(TooCostly):
            parsed.evaluate(data, budget)
    finally:
        sys.setprofile(None)
    assert calls < 12 * MAX_STEPS


def test_steps_do_not_depend_on_the_machine() -> None:
    parsed = Expression.parse("lines[?price > `50`].sku")
    left = set()
    for _ in range(3):
        budget = Budget()
        parsed.evaluate(PAID, budget)
        left.add(budget.left)
    assert len(left) == 1


def test_several_evaluations_may_share_a_budget() -> None:
    budget = Budget(100)
    parsed = Expression.parse("lines[*].sku")
    parsed.evaluate(PAID, budget)
    assert budget.left > 0
    budget.spend(budget.left)
    with pytest.raises(TooCostly):
        parsed.evaluate(PAID, budget)


def test_a_plain_filter_takes_a_few_steps_even_where_there_is_much_data() -> None:
    budget = Budget()
    Expression.parse("kind == 'x' && length(rest) > `3`").evaluate(
        {"kind": "x", "rest": WIDE}, budget
    )
    assert MAX_STEPS - budget.left < 20


NAMES = st.sampled_from(["a", "b", "c", "items", '"q w"'])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "c", "items", "q w"]), inner, max_size=4)
    ),
    max_leaves=20,
)
LITERALS = JSON.map(lambda value: "`" + json.dumps(value).replace("`", "\\`") + "`")


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def filled(template: str) -> st.SearchStrategy[str]:
        return st.tuples(inner, inner).map(lambda two: template.format(*two))

    templates = [
        *["{0}.a", "{0}[0]", "{0}[-1]", "{0}[*].a", "{0}.*", "{0}[]", "{0}[::-1]", "{0}[1:]"],
        *["{0}[?{1}]", "[{0}, {1}]", "{{a: {0}, b: {1}}}", "{0} | {1}", "!({0})", "({0})"],
        *[f"{{0}} {sign} {{1}}" for sign in ("==", "!=", "<", "<=", ">", ">=", "&&", "||")],
        *[f"{name}({{0}})" for name in ONE_ARGUMENT],
        *[f"{name}({{0}}, {{1}})" for name in ("contains", "ends_with", "join", "merge")],
        *[f"{name}({{0}}, &{{1}})" for name in ("sort_by", "min_by", "max_by")],
        *["map(&{0}, {1})", "not_null({0}, {1})", "starts_with({0}, {1})"],
    ]
    return st.sampled_from(templates).flatmap(filled)


ONE_ARGUMENT = [
    *["abs", "avg", "ceil", "floor", "keys", "length", "max", "min", "reverse", "sort", "sum"],
    *["to_array", "to_number", "to_string", "type", "values"],
]
EXPRESSIONS = st.recursive(NAMES | st.just("@") | LITERALS, _grown, max_leaves=12)


def assert_is_json(value: Any) -> None:
    text = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    assert json.loads(text) == value


@given(EXPRESSIONS, JSON, st.integers(0, 300))
@example("sum([`1e308`, `1e308`])", None, 300)
@example("to_string(@) | to_number(@)", math.pi, 300)
def test_whatever_is_written_and_sent_an_expression_has_json_for_a_value_or_says_why_not(
    expression: str, data: Any, steps: int
) -> None:
    try:
        parsed = Expression.parse(expression)
    except InvalidExpression:
        return
    budget = Budget(steps)
    before = json.dumps(data)
    try:
        value = parsed.evaluate(data, budget)
    except EvaluationError:
        pass
    else:
        assert budget.left >= 0
        assert_is_json(value)
    assert json.dumps(data) == before


@given(st.text(st.sampled_from("ab@*.[]{}()?!&|=<>:,'\"`\\0-1 \0é#"), max_size=30) | st.text())
@example(r'`"\ud800"`')
@example("map(@)")
def test_whatever_text_comes_it_is_an_expression_or_is_refused(text: str) -> None:
    try:
        parsed = Expression.parse(text)
    except InvalidExpression:
        return
    with contextlib.suppress(EvaluationError):
        assert_is_json(parsed.evaluate(PAID))
