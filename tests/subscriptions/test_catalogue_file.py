import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from subscriptions.catalogue_file import (
    BreakingImport,
    InvalidCatalogue,
    as_text,
    export,
    import_catalogue,
    read,
)
from subscriptions.models import EventType

pytestmark = pytest.mark.django_db

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
WIDER = {"type": "object", "properties": {"n": {"type": ["integer", "string"]}}, "required": ["n"]}


def document(*event_types: dict[str, Any]) -> dict[str, Any]:
    return {"version": 1, "event_types": list(event_types)}


def names() -> list[str]:
    return list(EventType.objects.values_list("name", flat=True))


def test_what_is_exported_can_be_imported_elsewhere_and_changes_nothing_here() -> None:
    EventType.objects.create(name="b", group="B", schema=SCHEMA, example={"n": 1})
    EventType.objects.create(name="a", archived=True, feature_flag="beta", schema_check="warn")
    exported = export()
    assert [one["name"] for one in exported["event_types"]] == ["a", "b"]
    report = import_catalogue(exported)
    assert (report.made, report.changed, report.left) == ([], [], ["a", "b"])
    EventType.objects.all().delete()
    assert import_catalogue(read(as_text(exported).encode())).made == ["a", "b"]
    assert export() == exported


def test_new_ones_are_made_those_that_differ_changed_and_the_rest_stays() -> None:
    EventType.objects.create(name="same", description="As it is.")
    EventType.objects.create(name="other", description="Before.")
    EventType.objects.create(name="unnamed")
    report = import_catalogue(
        document(
            {"name": "same", "description": "As it is."},
            {"name": "other", "description": "After."},
            {"name": "new", "schema": SCHEMA},
        )
    )
    assert (report.made, report.changed, report.left) == (["new"], ["other"], ["same"])
    assert names() == ["new", "other", "same", "unnamed"]
    assert EventType.objects.get(name="other").description == "After."
    assert not EventType.objects.get(name="unnamed").archived


def test_what_is_not_named_is_archived_where_that_is_asked_for() -> None:
    EventType.objects.create(name="gone")
    assert import_catalogue(document(), archive_missing=True).archived == ["gone"]
    assert EventType.objects.get().archived
    assert import_catalogue(document(), archive_missing=True).archived == []


def test_a_dry_run_tells_and_does_nothing() -> None:
    EventType.objects.create(name="a", schema=SCHEMA)
    wanted = document({"name": "a", "schema": WIDER}, {"name": "b"})
    report = import_catalogue(wanted, dry_run=True, archive_missing=True)
    assert (report.made, report.changed, len(report.breaking)) == (["b"], ["a"], 1)
    assert EventType.objects.get().schema == SCHEMA


def test_what_breaks_promises_stops_all_of_it_unless_it_is_accepted() -> None:
    EventType.objects.create(name="a", schema=SCHEMA)
    wanted = document({"name": "a", "schema": WIDER}, {"name": "b"})
    with pytest.raises(BreakingImport) as refused:
        import_catalogue(wanted)
    [(name, change)] = refused.value.report.breaking
    assert (name, change.path) == ("a", "$.n")
    assert names() == ["a"]
    import_catalogue(wanted, accept_breaking=True)
    assert names() == ["a", "b"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ([], "It is not"),
        ({"version": 1}, "It is not"),
        ({"version": 2, "event_types": []}, "version: Only version 1"),
        ({"version": 1, "event_types": {}}, "event_types: It is not a list"),
        (document([]), r"event_types\[0\]: It is not a JSON object"),  # type: ignore[arg-type]
        (document({"name": "a", "colour": "red"}), r"event_types\[0\]: There is no field 'colour'"),
        (document({"description": "x"}), r"event_types\[0\]\.name"),
        (document({"name": "a b"}), r"event_types\[0\]\.name"),
        (
            document({"name": "a"}, {"name": "a"}),
            r"event_types\[1\]\.name: It is in the list twice",
        ),
        (document({"name": "a", "schema": {"type": 3}}), r"event_types\[0\]\.schema"),
        (document({"name": "a", "archived": "perhaps"}), r"event_types\[0\]\.archived"),
        (document({"name": "a", "schema_check": "maybe"}), r"event_types\[0\]\.schema_check"),
    ],
)
def test_a_document_that_is_no_catalogue_is_refused_with_the_place(wrong: Any, says: str) -> None:
    with pytest.raises(InvalidCatalogue, match=says):
        import_catalogue(wrong)
    assert names() == []


@pytest.mark.parametrize("text", [b"{", b"\xff", b"[" * 100_000])
def test_a_file_that_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidCatalogue):
        read(text)


class TestCommands:
    def test_out_of_one_file_into_another(self, tmp_path: Path) -> None:
        EventType.objects.create(name="a", schema=SCHEMA)
        file = tmp_path / "event-types.json"
        call_command("export_event_types", str(file))
        assert json.loads(file.read_text()) == export()
        out = io.StringIO()
        call_command("export_event_types", stdout=out)
        assert out.getvalue() == file.read_text()
        EventType.objects.all().delete()
        out = io.StringIO()
        call_command("import_event_types", str(file), stdout=out)
        assert out.getvalue() == "made: a\nas they were: 0\n"

    def test_what_it_breaks_is_told(self, tmp_path: Path) -> None:
        EventType.objects.create(name="a", schema=SCHEMA)
        file = tmp_path / "event-types.json"
        file.write_text(json.dumps(document({"name": "a", "schema": WIDER})))
        out = io.StringIO()
        with pytest.raises(CommandError, match="--accept-breaking"):
            call_command("import_event_types", str(file), stdout=out)
        assert "breaking: a $.n: It may be string now." in out.getvalue()
        out = io.StringIO()
        call_command("import_event_types", str(file), "--dry-run", stdout=out)
        assert "Nothing was done" in out.getvalue()
        assert EventType.objects.get().schema == SCHEMA
        call_command("import_event_types", str(file), "--accept-breaking", stdout=io.StringIO())
        assert EventType.objects.get().schema == WIDER

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(CommandError, match="No such file"):
            call_command("import_event_types", str(tmp_path / "missing"))
