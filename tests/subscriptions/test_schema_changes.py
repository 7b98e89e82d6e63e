import json
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from subscriptions.payload_schemas import InvalidSchema, first_fault, schema_text
from subscriptions.schema_changes import Verdict, breaking_changes

Schema = dict[str, Any]


def broken(old: Schema | None, new: Schema | None) -> list[str]:
    """The paths of what breaks; one that cannot be judged has a question mark."""
    return [
        change.path + ("?" if change.verdict is Verdict.UNJUDGED else "")
        for change in breaking_changes(old, new)
    ]


def reasons(old: Schema, new: Schema) -> list[str]:
    return [str(change) for change in breaking_changes(old, new)]


def of(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties}


STRING: Schema = {"type": "string"}
LINE = of(sku=STRING)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, STRING),
        (STRING, {**STRING, "title": "A word", "description": "…", "examples": ["a"]}),
        ({**STRING, "description": "old"}, {**STRING, "description": "new"}),
        (of(a=STRING), of(a=STRING, b=STRING)),
        (of(a=STRING), {**of(a=STRING), "required": ["a"]}),
        (of(a=STRING), {**of(a=STRING), "additionalProperties": False}),
        ({"type": ["string", "null"]}, STRING),
        ({"type": "number"}, {"type": "integer"}),
        ({"enum": ["a", "b"]}, {"enum": ["b"]}),
        ({"enum": ["a", "b"]}, {"const": "a"}),
        ({"minimum": 1}, {"minimum": 2, "maximum": 9}),
        ({"minimum": 1}, {"exclusiveMinimum": 1}),
        ({"multipleOf": 0.01}, {"multipleOf": 0.1}),
        ({**STRING, "minLength": 1}, {**STRING, "minLength": 2, "maxLength": 9, "pattern": "^a"}),
        ({"type": ["string", "null"], "minLength": 1}, {"type": "null"}),
        ({"items": STRING}, {"items": STRING, "uniqueItems": True, "maxItems": 3}),
        ({"prefixItems": [STRING]}, {"items": STRING}),
        ({"items": STRING}, {"prefixItems": [STRING], "items": STRING}),
        ({"anyOf": [STRING, {"type": "null"}]}, {"anyOf": [STRING]}),
        ({"anyOf": [STRING, {"type": "null"}]}, STRING),
        ({"allOf": [STRING]}, {"allOf": [STRING], "not": {"const": ""}}),
        ({"$ref": "#/$defs/a", "$defs": {"a": STRING}}, STRING),
        (of(a=LINE), {**of(a={"$ref": "#/$defs/l~1"}), "$defs": {"l/": LINE}}),
        ({"$id": "https://example.com/1", **STRING}, {"$id": "https://example.com/2", **STRING}),
        ({"properties": {"a": False}}, {"properties": {"a": False, "b": STRING}}),
    ],
)
def test_what_promises_as_much_or_more_breaks_nothing(old: Schema, new: Schema) -> None:
    assert broken(old, new) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (of(a=STRING), of(), "$.a: It is not described any more."),
        ({"required": ["a"]}, {"required": ["b"]}, "$.a: It may be missing now."),
        (STRING, {"type": ["string", "null"]}, "$: It may be null now."),
        (STRING, {"type": "integer"}, "$: It may be integer now."),
        ({"type": "integer"}, {"type": "number"}, "$: It may be number now."),
        (STRING, {}, "$: It need not be string any more."),
        ({"enum": ["a"]}, {"enum": ["a", "é"]}, '$: It may be "é" now.'),
        ({"const": 1}, {"const": True}, "$: It may be true now."),
        ({"const": "a"}, STRING, '$: It need not be "a" any more.'),
        ({"minimum": 1}, {"minimum": 0.5}, "$: It may be less than 1 now."),
        ({"exclusiveMinimum": 1}, {"minimum": 1}, "$: It may be 1 or less now."),
        ({"maximum": 1}, {}, "$: It may be more than 1 now."),
        ({"exclusiveMaximum": 1}, {"maximum": 1}, "$: It may be 1 or more now."),
        ({"multipleOf": 2}, {"multipleOf": 3}, "$: It need not be a multiple of 2 any more."),
        ({"minLength": 2}, {"minLength": 1}, "$: It may have fewer than 2 characters now."),
        ({"maxItems": 2}, {}, "$: It may have more than 2 items now."),
        ({"maxProperties": 2}, {"maxProperties": 3}, "$: It may have more than 2 properties now."),
        ({"pattern": "^a"}, {}, "$: It need not match ^a any more."),
        ({"format": "uuid"}, {"format": "uri"}, "$: Its format need not be uuid any more."),
        ({"uniqueItems": True}, {}, "$: An item may come twice now."),
    ],
)
def test_each_promise_that_is_broken_is_named_with_its_place(
    old: Schema, new: Schema, said: str
) -> None:
    assert reasons(old, new) == [said]


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        (of(a=of(b=STRING)), of(a=of(b={"type": "null"})), ["$.a.b"]),
        ({"items": LINE}, {"items": of()}, ["$[*].sku"]),
        ({"prefixItems": [STRING]}, {"prefixItems": [LINE]}, ["$[0]"]),
        ({"prefixItems": [STRING]}, {"prefixItems": [{}]}, ["$[0]"]),
        ({"additionalProperties": False}, {"properties": {"a": STRING}}, ["$.a", "$.*"]),
        ({"additionalProperties": STRING}, {"additionalProperties": {}}, ["$.*"]),
        (
            {"additionalProperties": STRING},
            {"additionalProperties": STRING, "patternProperties": {"^x": {}}},
            ["$./^x/"],
        ),
        (of(a=STRING, b=STRING), of(a={}), ["$.b", "$.a"]),
        ({"properties": {"a": False}}, {}, ["$.a"]),
        (STRING, None, ["$"]),
        (
            {**of(a={"$ref": "#/$defs/l"}), "$defs": {"l": LINE}},
            {**of(a={"$ref": "#/$defs/l"}), "$defs": {"l": of(sku={})}},
            ["$.a.sku"],
        ),
    ],
)
def test_it_is_looked_for_as_deep_as_the_schema_goes(
    old: Schema, new: Schema | None, where: list[str]
) -> None:
    assert broken(old, new) == where


def test_where_nothing_was_promised_nothing_is_broken() -> None:
    assert broken(None, STRING) == broken(None, None) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"allOf": [STRING]}, {"allOf": [LINE]}),
        ({"oneOf": [STRING, LINE]}, {"oneOf": [STRING]}),
        ({"anyOf": [STRING]}, {"anyOf": [STRING, LINE]}),
        ({"if": STRING, "then": {"minLength": 1}}, {"if": STRING}),
        ({"contains": STRING}, {"contains": STRING, "minContains": 0}),
        ({"pattern": "^a"}, {"pattern": "^ab"}),
        (STRING, {"anyOf": [STRING]}),
        (STRING, {"$ref": "#/$defs/a", "minLength": 1, "$defs": {"a": STRING}}),
        ({"$ref": "#", "$defs": {"a": STRING}}, STRING),
        ({"$id": "https://a.example/", "$ref": "https://a.example/#/$defs/a"}, STRING),
        ({"unevaluatedProperties": False}, {"unevaluatedProperties": False, "allOf": [LINE]}),
        (
            {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": STRING}},
            {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": LINE}},
        ),
    ],
)
def test_what_cannot_be_judged_is_said_to_be_so(old: Schema, new: Schema) -> None:
    assert broken(old, new) == ["$?"]


def test_references_that_go_round_come_to_an_end() -> None:
    def tree(value: Schema) -> Schema:
        node = of(value=value, children={"items": {"$ref": "#/$defs/node"}})
        return {"$ref": "#/$defs/node", "$defs": {"node": node}}

    assert broken(tree(STRING), tree(STRING)) == []
    assert broken(tree(STRING), tree({})) == ["$.value"]


def test_a_schema_whose_references_unfold_without_end_is_compared_in_no_time() -> None:
    def unfolding(last: Schema) -> Schema:
        levels = {
            f"l{n}": of(a={"$ref": f"#/$defs/l{n + 1}"}, b={"$ref": f"#/$defs/l{n + 1}"})
            for n in range(60)
        }
        return {"$ref": "#/$defs/l0", "$defs": {**levels, "l60": last}}

    assert broken(unfolding(STRING), unfolding({})) == ["$" + 60 * ".a"]


values = st.sampled_from([None, True, 0, 1, 1.5, 2, "", "a", "ab", [], ["a"], [1, 1], {}])
data = st.recursive(
    values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=4,
)
kinds = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
counts = st.integers(0, 2)


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Schema]:
    named = st.dictionaries(st.sampled_from("abc"), inner, max_size=2)
    some = st.lists(inner, min_size=1, max_size=2)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": kinds | st.lists(kinds, unique=True, min_size=1, max_size=3),
            "enum": st.lists(values, min_size=1, max_size=3),
            "const": values,
            **dict.fromkeys(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"], counts),
            **dict.fromkeys(["minLength", "maxLength", "minItems", "maxItems"], counts),
            **dict.fromkeys(["minProperties", "maxProperties", "minContains"], counts),
            "multipleOf": st.sampled_from([0.5, 1, 2]),
            "pattern": st.sampled_from(["^a", "b$"]),
            "uniqueItems": st.booleans(),
            "required": st.lists(st.sampled_from("abc"), unique=True),
            **dict.fromkeys(["properties", "dependentSchemas"], named),
            "patternProperties": st.dictionaries(st.sampled_from(["a", "[bc]"]), inner, max_size=1),
            **dict.fromkeys(["items", "additionalProperties", "contains", "propertyNames"], inner),
            **dict.fromkeys(["not", "if", "then", "else"], inner),
            **dict.fromkeys(["unevaluatedItems", "unevaluatedProperties"], inner),
            **dict.fromkeys(["prefixItems", "allOf", "anyOf", "oneOf"], some),
            "$ref": st.sampled_from(["#/$defs/a", "#/$defs/b"]),
        },
    )


schemas = st.recursive(st.booleans() | keywords(st.booleans()), keywords, max_leaves=5)


@st.composite
def changed(draw: st.DrawFn) -> tuple[Schema, Schema]:
    """A schema, and the same with a few keywords taken away, added or exchanged."""
    old = {
        **draw(keywords(schemas)),
        "$defs": {"a": draw(keywords(st.booleans())), "b": draw(keywords(st.booleans()))},
    }
    new = json.loads(json.dumps(old))
    for _ in range(draw(st.integers(1, 2))):
        place = new
        while (inner := [one for one in place.values() if isinstance(one, dict)]) and draw(
            st.booleans()
        ):
            place = draw(st.sampled_from(inner))
        if place and draw(st.booleans()):
            name = draw(st.sampled_from(sorted(place)))
            if name != "$defs" and place is not new["$defs"]:
                del place[name]
        elif place is not new["$defs"]:
            place.update(draw(keywords(st.booleans() | keywords(st.booleans()))))
    # A property may have come by the name of a keyword, and by its value for a schema.
    try:
        schema_text(new)
    except InvalidSchema:
        reject()
    return old, new


@settings(max_examples=100, deadline=None)
@given(changed(), st.lists(data, min_size=5, max_size=5))
def test_no_data_breaks_the_old_schema_that_the_new_one_lets_pass(
    schemas: tuple[Schema, Schema], some: list[Any]
) -> None:
    old, new = schemas
    if breaking_changes(old, new):
        return
    for one in some:
        if first_fault(json.dumps(new), one) is None:
            assert first_fault(json.dumps(old), one) is None
