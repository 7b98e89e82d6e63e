"""What the keywords of a JSON Schema say, read off plain data."""

import json
from collections.abc import Iterator, Mapping
from math import inf
from typing import Any
from urllib.parse import unquote

Schema = Mapping[str, Any]

NOTES = {
    *("$schema", "$comment", "title", "description", "default", "examples", "example"),
    *("deprecated", "readOnly", "writeOnly"),
}
"""Keywords that say nothing of the data."""
OF_NAMES = {"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"}
OF_LISTS = {"allOf", "anyOf", "oneOf", "prefixItems"}
OF_ONE = {
    *("items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else"),
    *("unevaluatedItems", "unevaluatedProperties"),
}
"""Keywords that hold schemas: by name, in a list, or one."""

DEFINITIONS = {"$defs", "definitions"}
TYPES = frozenset({"null", "boolean", "object", "array", "number", "integer", "string"})


def canonical(value: Any) -> str:
    """JSON text by which values are the same. To Python 1, 1.0 and True are equal."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def bare(schema: Any) -> Any:
    """The schema without its NOTES."""
    if not isinstance(schema, Mapping):
        return schema
    return {name: _bare_value(name, value) for name, value in schema.items() if name not in NOTES}


def _bare_value(keyword: str, value: Any) -> Any:
    if keyword in OF_NAMES and isinstance(value, Mapping):
        return {name: bare(schema) for name, schema in value.items()}
    if keyword in OF_LISTS and isinstance(value, list):
        return [bare(schema) for schema in value]
    return bare(value) if keyword in OF_ONE else value


def parts(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every object in a JSON value."""
    if isinstance(value, Mapping):
        yield value
        for part in value.values():
            yield from parts(part)
    elif isinstance(value, list):
        for part in value:
            yield from parts(part)


def references(schema: Any) -> set[str]:
    """What the schema refers to, wherever in it."""
    found = (part.get("$ref") for part in parts(schema))
    return {reference for reference in found if isinstance(reference, str)}


def target(root: Schema, reference: str) -> Any:
    """What a reference into the same document (#/$defs/line) leads to; None where it does not."""
    place: Any = root
    if reference != "#" and not reference.startswith("#/"):
        return None
    for step in unquote(reference[1:]).split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(place, list):
            place = place[int(step)] if step.isdecimal() and int(step) < len(place) else None
        else:
            place = place.get(step) if isinstance(place, Mapping) else None
    return place


def resolved(root: Schema, schema: Any) -> Any:
    """The schema that one stands for which is nothing but a reference.

    One that says more beside it, or that goes round, is left as it is.
    """
    followed = set()
    place = schema
    while isinstance(place, Mapping) and "$ref" in place:
        reference = place["$ref"]
        if reference in followed or place.keys() - DEFINITIONS != {"$ref"}:
            return schema
        followed.add(reference)
        place = target(root, reference)
    return place


def types(schema: Schema) -> set[str]:
    """Which types a value may have; with number goes integer."""
    listed = values(schema)
    return _said_types(schema) if listed is None else {_type(value) for value in listed}


def values(schema: Schema) -> list[Any] | None:
    """The only values there may be; None where they are not listed."""
    if "const" in schema:
        listed = [schema["const"]]
        if "enum" in schema:
            others = {canonical(value) for value in schema["enum"]}
            listed = [value for value in listed if canonical(value) in others]
    elif "enum" in schema:
        listed = schema["enum"]
    else:
        return None
    said = _said_types(schema)
    return [value for value in listed if _type(value) in said]


def _said_types(schema: Schema) -> set[str]:
    said = schema.get("type", TYPES)
    allowed = {said} if isinstance(said, str) else set(said)
    return allowed | {"integer"} if "number" in allowed else allowed


def _type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    names = {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}
    return names[type(value)]


def least(schema: Schema) -> tuple[float, int]:
    """The lower bound of a number, and 1 where it is itself outside; the greater, the stricter."""
    bounds = [
        (schema[keyword], outside)
        for keyword, outside in (("minimum", 0), ("exclusiveMinimum", 1))
        if keyword in schema
    ]
    return max(bounds, default=(-inf, 0))


def most(schema: Schema) -> tuple[float, int]:
    """The upper bound of a number, and -1 where it is itself outside; the less, the stricter."""
    bounds = [
        (schema[keyword], outside)
        for keyword, outside in (("maximum", 0), ("exclusiveMaximum", -1))
        if keyword in schema
    ]
    return min(bounds, default=(inf, 0))
