"""JSON Schemas (draft 2020-12) of events' data: which are taken, and what they find wrong.

A schema is the operator's own, and trusted to be no trap. Even so nothing that it refers to is ever
fetched, and its regular expressions take time in proportion to the text (no look-around, no
back-references).
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

from webhooks.payloads import InvalidPayload, encode, json_path

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_BYTES = 64 * 1024
"""Of a schema, and of an example, as JSON."""
MAX_DEPTH = 48
VALUE_SHOWN = 40
MESSAGE_SHOWN = 300

THE_VALUE = "\0"
"""Takes the value's place in what the library says."""
NUL = re.compile(r"(?<!\\)(\\\\)*\\u0000")


class InvalidSchema(ValueError):
    """A schema or an example that cannot be taken; the message says why."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The first place where data is not as its schema says."""

    path: str
    """As in $.lines[3].price."""
    keyword: str
    """Of the schema, as in `type`."""
    problem: str
    """What is wrong there. It shows the beginning of a plain value, and nothing of any other."""

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


def json_text(value: Any) -> str:
    """A schema or an example as JSON. Raises InvalidSchema where it is too large, or none."""
    try:
        text = encode(value, max_bytes=MAX_BYTES, max_depth=MAX_DEPTH)
    except InvalidPayload as error:
        raise InvalidSchema(str(error)) from error
    if NUL.search(text):
        raise InvalidSchema("It has a NUL character (\\u0000), which cannot be stored.")
    return text


def schema_text(schema: Any) -> str:
    """A schema as JSON text. Raises InvalidSchema unless data can be held against it."""
    if not isinstance(schema, dict):
        raise InvalidSchema("A schema is a JSON object.")
    if schema.get("$schema", DIALECT) != DIALECT:
        raise InvalidSchema(f"$.$schema: only {DIALECT} is supported.")
    text = json_text(schema)
    try:
        _validator(text)
    except ValidationError as error:
        raise InvalidSchema(str(_fault(error))) from error
    return text


def first_fault(schema: str, data: Any) -> Fault | None:
    """What is wrong with `data` by a schema's JSON text; None if nothing is."""
    try:
        _validator(schema).validate(data)
    except ValidationError as error:
        return _fault(error)
    return None


@lru_cache(maxsize=1000)
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(
        json.loads(schema), pattern_options=RegexOptions(), offline=True, mask=THE_VALUE
    )


def _fault(error: ValidationError) -> Fault:
    value = error.instance
    if isinstance(value, dict | list):
        shown = "the object" if isinstance(value, dict) else "the array"
    else:
        shown = json.dumps(value, ensure_ascii=False)
        if len(shown) > VALUE_SHOWN:
            shown = f"{shown[:VALUE_SHOWN]}…"
    problem = error.message.replace(THE_VALUE, shown)
    if len(problem) > MESSAGE_SHOWN:
        problem = f"{problem[:MESSAGE_SHOWN]}…"
    return Fault(json_path(error.instance_path), error.kind.name, problem)
