"""The tests that the documentation names as its proof exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.processes import ROOT

SPECIFICATION = (ROOT / "docs" / "standard-webhooks.md").read_text()
ROWS = re.findall(r"^\| (?!the specification \|)[^-].*$", SPECIFICATION, re.MULTILINE)
THREATS = re.findall(r"^\| (?!threat \|)[^-].*$", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)


def named(page: Path) -> set[str]:
    return set(re.findall(r"`(tests/[\w/]+\.py(?:::[\w:]+)?)`", page.read_text()))


def existing(file: Path) -> Iterator[str]:
    """A file and its tests, as pytest writes them: tests/….py::TestBody::test_…"""
    name = file.relative_to(ROOT)
    yield f"{name}"
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            yield f"{name}::{node.name}"
        elif isinstance(node, ast.ClassDef):
            yield f"{name}::{node.name}"
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    yield f"{name}::{node.name}::{inner.name}"


def test_every_test_that_a_page_names_exists() -> None:
    pages = {page.name: named(page) for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]}
    assert len(pages["standard-webhooks.md"]) > 50
    tests = {name for file in ROOT.glob("tests/**/test_*.py") for name in existing(file)}
    assert {page: names - tests for page, names in pages.items() if names - tests} == {}


def test_every_sentence_of_standard_webhooks_has_its_test_or_says_that_there_is_none() -> None:
    assert len(ROWS) > 50
    unproven = [row for row in ROWS if "`tests/" not in row]
    assert [
        row for row in unproven if not re.search(r"\*\*(?i:not yet|left to you)\*\*", row)
    ] == []


def test_every_threat_has_its_test() -> None:
    assert len(THREATS) > 40
    assert [row for row in THREATS if "`tests/" not in row] == []
