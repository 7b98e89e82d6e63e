"""The catalogue of event types as one JSON document, out and in."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from subscriptions.models import EventType
from subscriptions.schema_changes import Change, breaking_changes
from subscriptions.schema_keywords import canonical

VERSION = 1
FIELDS = (
    *("name", "group", "description", "archived", "feature_flag"),
    *("schema_check", "schema", "example"),
)
MAX_BYTES = 16 * 1024 * 1024


class InvalidCatalogue(ValueError):
    """A document that is no catalogue; nothing was imported."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.reason = message


@dataclass(frozen=True, slots=True)
class Report:
    """What an import does, by the names of the event types."""

    made: list[str]
    changed: list[str]
    left: list[str]
    """Those that were in the catalogue as the document has them."""
    archived: list[str]
    """Those that are not in the document, where they are to be archived."""
    breaking: list[tuple[str, Change]]
    """What changes of schemas break for those who receive."""


class BreakingImport(Exception):
    """An import that would break what subscribers were promised; nothing was imported."""

    def __init__(self, report: Report) -> None:
        super().__init__("The import would break what subscribers were promised.")
        self.report = report


def export() -> dict[str, Any]:
    """The whole catalogue, in alphabetical order."""
    event_types = EventType.objects.order_by("name").values(*FIELDS)
    return {"version": VERSION, "event_types": list(event_types)}


def as_text(document: Mapping[str, Any]) -> str:
    """The document as it stands in a file, always in the same order."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def read(text: bytes) -> Any:
    """What a file holds. Raises InvalidCatalogue where that is not JSON, or too much."""
    if len(text) > MAX_BYTES:
        raise InvalidCatalogue("", f"It is larger than {MAX_BYTES} bytes.")
    try:
        return json.loads(text.decode())
    except RecursionError as error:
        raise InvalidCatalogue("", "It is nested too deeply.") from error
    except ValueError as error:
        raise InvalidCatalogue("", f"It is not JSON in UTF-8: {error}.") from error


@transaction.atomic
def import_catalogue(
    document: Any,
    *,
    dry_run: bool = False,
    accept_breaking: bool = False,
    archive_missing: bool = False,
) -> Report:
    """Make the event types of `document` that are new, and change those that are not as it says.

    What an entry does not say is as in a new event type. Event types that it does not name stay,
    or are archived where that is asked for; none is deleted. All of it or nothing is done: raises
    InvalidCatalogue, and BreakingImport unless breaking changes are accepted.
    """
    wanted = {event_type.name: event_type for event_type in _event_types(document)}
    known = {
        event_type.name: event_type
        for event_type in EventType.objects.select_for_update(no_key=True).order_by("name")
    }
    made = [name for name in wanted if name not in known]
    changed = [
        name for name in wanted if name in known and _written(wanted[name]) != _written(known[name])
    ]
    archived = [
        name for name, event_type in known.items() if name not in wanted and not event_type.archived
    ]
    report = Report(
        made=made,
        changed=changed,
        left=[name for name in wanted if name in known and name not in changed],
        archived=archived if archive_missing else [],
        breaking=[
            (name, change)
            for name in changed
            for change in breaking_changes(known[name].schema, wanted[name].schema)
        ],
    )
    if dry_run:
        return report
    if report.breaking and not accept_breaking:
        raise BreakingImport(report)
    for name in made:
        wanted[name].save(force_insert=True)
    for name in changed:
        for field in FIELDS:
            setattr(known[name], field, getattr(wanted[name], field))
        known[name].save()
    for name in report.archived:
        known[name].archived = True
        known[name].save()
    return report


def _event_types(document: Any) -> list[EventType]:
    """The event types of a document, each checked as in the API."""
    if not isinstance(document, Mapping) or set(document) != {"version", "event_types"}:
        raise InvalidCatalogue("", 'It is not {"version": 1, "event_types": [...]}.')
    if document["version"] != VERSION:
        raise InvalidCatalogue("version", f"Only version {VERSION} can be read.")
    entries = document["event_types"]
    if not isinstance(entries, list):
        raise InvalidCatalogue("event_types", "It is not a list.")
    found: dict[str, EventType] = {}
    for place, entry in enumerate(entries):
        event_type = _event_type(f"event_types[{place}]", entry)
        if event_type.name in found:
            raise InvalidCatalogue(f"event_types[{place}].name", "It is in the list twice.")
        found[event_type.name] = event_type
    return list(found.values())


def _event_type(where: str, entry: Any) -> EventType:
    if not isinstance(entry, Mapping):
        raise InvalidCatalogue(where, "It is not a JSON object.")
    unknown = sorted(set(entry) - set(FIELDS))
    if unknown:
        raise InvalidCatalogue(where, f"There is no field {unknown[0]!r}: use {', '.join(FIELDS)}.")
    event_type = EventType(**entry)
    try:
        event_type.full_clean(validate_unique=False)
    except ValidationError as error:
        field, [reason, *_] = next(iter(error.message_dict.items()))
        raise InvalidCatalogue(f"{where}.{field}", reason) from error
    return event_type


def _written(event_type: EventType) -> str:
    """What is compared: 1 and 1.0 and true are not the same in JSON."""
    return canonical({field: getattr(event_type, field) for field in FIELDS})
