"""What a change of a schema breaks, as those see it who receive the data.

To them a schema is a promise, and each of its keywords narrows what may come. So a keyword that is
new or stricter breaks nothing. One that is gone or laxer does, and so does a property that is not
described any more. What cannot be judged here is said to be so, rather than passed.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from math import inf
from typing import Any

from subscriptions.schema_keywords import (
    TYPES,
    Schema,
    bare,
    canonical,
    least,
    most,
    parts,
    references,
    resolved,
    target,
    types,
    values,
)

IN_PLACE = {"$ref", "allOf", "anyOf", "oneOf", "not", "if"}
"""What a schema does not say beside these, it may say in them."""
TOGETHER = (
    ("allOf",),
    ("oneOf",),
    ("not",),
    ("if", "then", "else"),
    ("contains", "minContains", "maxContains"),
    ("patternProperties",),
    ("propertyNames",),
    ("dependentRequired",),
    ("dependentSchemas",),
)
"""Judged by no more than whether it is the same; each row means something as a whole."""

NUMBER, STRING, ARRAY, OBJECT = {"number", "integer"}, {"string"}, {"array"}, {"object"}
COUNTS = (
    (STRING, "Length", "characters"),
    (ARRAY, "Items", "items"),
    (OBJECT, "Properties", "properties"),
)
VALUES_SHOWN = 5
VALUE_SHOWN = 40


class Verdict(StrEnum):
    BREAKS = "breaks"
    UNJUDGED = "cannot be judged"


@dataclass(frozen=True, slots=True)
class Change:
    """A promise that is not kept any more, or may not be."""

    path: str
    """Where in the data, as in $.lines[*].price."""
    verdict: Verdict
    reason: str

    def __str__(self) -> str:
        doubt = " (Whether that breaks anything cannot be judged.)"
        return f"{self.path}: {self.reason}{doubt if self.verdict is Verdict.UNJUDGED else ''}"


def breaking_changes(old: Schema | None, new: Schema | None) -> list[Change]:
    """Each promise of `old` that `new` does not keep, or cannot be seen to keep.

    Both are valid schemas; None is one that promises nothing.
    """
    if old is None:
        return []
    if new is None:
        return [Change("$", Verdict.BREAKS, "The schema is gone: nothing is promised any more.")]
    old, new = _root(old), _root(new)
    if canonical(old) == canonical(new):
        return []
    if _leads_astray(old) or _leads_astray(new):
        reason = "It uses an $id, a $dynamicRef or a reference that is not a path from the root."
        return [Change("$", Verdict.UNJUDGED, reason)]
    return _Comparison(old, new).changes()


def _root(schema: Schema) -> Schema:
    root = bare(schema)
    return {name: root[name] for name in root if name != "$id"}


def _leads_astray(root: Schema) -> bool:
    """Whether a reference may not lead where it points."""
    return any("$id" in part or "$dynamicRef" in part for part in parts(root)) or any(
        target(root, reference) is None for reference in references(root)
    )


@dataclass(frozen=True, slots=True)
class _Pair:
    """The same place in both schemas."""

    path: str
    old: Any
    new: Any


@dataclass(slots=True)
class _Comparison:
    old_root: Schema
    new_root: Schema
    found: list[Change] = field(default_factory=list)
    todo: deque[_Pair] = field(default_factory=deque)

    def changes(self) -> list[Change]:
        # A list of what is to do, and each two schemas once: references may lead deep, or round.
        done = set()
        self.todo.append(_Pair("$", self.old_root, self.new_root))
        while self.todo:
            pair = self.todo.popleft()
            old, new = resolved(self.old_root, pair.old), resolved(self.new_root, pair.new)
            if isinstance(old, Mapping) and isinstance(new, Mapping):
                if (id(old), id(new)) in done:
                    continue
                done.add((id(old), id(new)))
            self._compare(pair.path, old, new)
        return self.found

    def _compare(self, path: str, old: Any, new: Any) -> None:
        if old in (True, {}) or new is False:
            return
        if old is False:
            self.found.append(Change(path, Verdict.BREAKS, "It was never to come, and may now."))
            return
        new = {} if new is True else new
        if "$ref" in old or "$ref" in new:
            if not self._same(old, new):
                reason = "It is a reference with something beside it, which has changed."
                self.found.append(Change(path, Verdict.UNJUDGED, reason))
            return
        self._note(path, Verdict.UNJUDGED, self._changed_as_a_whole(old, new))
        verdict = Verdict.BREAKS if IN_PLACE.isdisjoint(new) else Verdict.UNJUDGED
        self._note(path, verdict, _lost_values(old, new))
        coming = types(new)
        if coming & NUMBER:
            self._note(path, verdict, _lost_range(old, new))
        if coming & STRING:
            self._note(path, verdict, _lost_text(old, new))
        if coming & ARRAY:
            self._note(path, verdict, _lost_uniqueness(old, new))
            self._compare_items(path, old, new)
        if coming & OBJECT:
            self._compare_properties(path, verdict, old, new)
        for kind, suffix, what in COUNTS:
            if coming & kind:
                self._note(path, verdict, _lost_count(old, new, suffix, what))

    def _note(self, path: str, verdict: Verdict, reasons: Iterable[str]) -> None:
        self.found += [Change(path, verdict, reason) for reason in reasons]

    def _changed_as_a_whole(self, old: Schema, new: Schema) -> Iterator[str]:
        for keywords in TOGETHER:
            before, after = (
                {name: schema[name] for name in keywords if name in schema} for schema in (old, new)
            )
            if before and not self._same(before, after):
                yield f"{keywords[0]} has changed."
        if "anyOf" in old and not self._is_among(old["anyOf"], new):
            yield "anyOf has changed."
        if "pattern" in old and "pattern" in new and old["pattern"] != new["pattern"]:
            yield "pattern has changed."
        if ("unevaluatedProperties" in old or "unevaluatedItems" in old) and (
            not self._same(old, new)
        ):
            yield "Something has changed beside unevaluatedProperties or unevaluatedItems."

    def _is_among(self, alternatives: list[Any], new: Schema) -> bool:
        """Whether each of the alternatives that are left was one before."""
        left = new.get("anyOf", [new])
        return all(any(self._same(before, one) for before in alternatives) for one in left)

    def _same(self, old: Any, new: Any) -> bool:
        """Whether both say the same, and what they refer to does."""
        if canonical(old) != canonical(new):
            return False
        followed: set[str] = set()
        todo = references(old)
        while todo:
            reference = todo.pop()
            followed.add(reference)
            before = target(self.old_root, reference)
            if canonical(before) != canonical(target(self.new_root, reference)):
                return False
            todo |= references(before) - followed
        return True

    def _compare_properties(self, path: str, verdict: Verdict, old: Schema, new: Schema) -> None:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name, schema in before.items():
            if schema is not False and after.get(name, False) is False:
                self._note(f"{path}.{name}", verdict, ["It is not described any more."])
            else:
                self.todo.append(_Pair(f"{path}.{name}", schema, after.get(name, True)))
        for name in old.get("required", []):
            if name not in new.get("required", []):
                self._note(f"{path}.{name}", verdict, ["It may be missing now."])
        others = old.get("additionalProperties", True)
        for name, schema in after.items():
            if name not in before:
                self.todo.append(_Pair(f"{path}.{name}", others, schema))
        if "patternProperties" not in old:
            for pattern, schema in new.get("patternProperties", {}).items():
                self.todo.append(_Pair(f"{path}./{pattern}/", others, schema))
        self.todo.append(_Pair(f"{path}.*", others, new.get("additionalProperties", True)))

    def _compare_items(self, path: str, old: Schema, new: Schema) -> None:
        before, after = old.get("prefixItems", []), new.get("prefixItems", [])
        others_before, others_after = old.get("items", True), new.get("items", True)
        for place in range(max(len(before), len(after))):
            self.todo.append(
                _Pair(
                    f"{path}[{place}]",
                    before[place] if place < len(before) else others_before,
                    after[place] if place < len(after) else others_after,
                )
            )
        self.todo.append(_Pair(f"{path}[*]", others_before, others_after))


def _lost_values(old: Schema, new: Schema) -> Iterator[str]:
    allowed, coming = values(old), values(new)
    before, after = types(old), types(new)
    if allowed is not None and coming is None:
        yield f"It need not be {_listed(allowed)} any more."
    elif allowed is not None and coming is not None:
        known = {canonical(value) for value in allowed}
        others = [value for value in coming if canonical(value) not in known]
        if others:
            yield f"It may be {_listed(others)} now."
    elif after == TYPES != before:
        yield f"It need not be {_names(before)} any more."
    elif not after <= before:
        yield f"It may be {_names(after - before)} now."


def _lost_range(old: Schema, new: Schema) -> Iterator[str]:
    (bound, outside), (new_bound, new_outside) = least(old), least(new)
    if (new_bound, new_outside) < (bound, outside):
        yield f"It may be {bound} or less now." if outside else f"It may be less than {bound} now."
    (bound, outside), (new_bound, new_outside) = most(old), most(new)
    if (new_bound, new_outside) > (bound, outside):
        yield f"It may be {bound} or more now." if outside else f"It may be more than {bound} now."
    if "multipleOf" in old and not _is_multiple(new.get("multipleOf"), old["multipleOf"]):
        yield f"It need not be a multiple of {old['multipleOf']} any more."


def _is_multiple(number: float | None, of: float) -> bool:
    return number is not None and Fraction(str(number)) % Fraction(str(of)) == 0


def _lost_text(old: Schema, new: Schema) -> Iterator[str]:
    if "pattern" in old and "pattern" not in new:
        yield f"It need not match {old['pattern']} any more."
    for keyword in ("format", "contentEncoding", "contentMediaType"):
        if keyword in old and new.get(keyword) != old[keyword]:
            yield f"Its {keyword} need not be {old[keyword]} any more."


def _lost_uniqueness(old: Schema, new: Schema) -> Iterator[str]:
    if old.get("uniqueItems") and not new.get("uniqueItems"):
        yield "An item may come twice now."


def _lost_count(old: Schema, new: Schema, suffix: str, what: str) -> Iterator[str]:
    fewest, limit = old.get(f"min{suffix}", 0), old.get(f"max{suffix}", inf)
    if new.get(f"min{suffix}", 0) < fewest:
        yield f"It may have fewer than {fewest} {what} now."
    if new.get(f"max{suffix}", inf) > limit:
        yield f"It may have more than {limit} {what} now."


def _names(of_types: set[str]) -> str:
    if "number" in of_types:
        of_types = of_types - {"integer"}
    return " or ".join(sorted(of_types))


def _listed(some: list[Any]) -> str:
    shown = [canonical(value)[:VALUE_SHOWN] for value in some[:VALUES_SHOWN]]
    return " or ".join(shown if len(some) <= VALUES_SHOWN else [*shown, "…"])
