"""SECURITY.md names tests that are there."""

import re

import pytest

from tests.processes import ROOT

SECURITY = (ROOT / "SECURITY.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in SECURITY.splitlines()
    if line.startswith("| ") and not line.startswith(("| threat", "| ---"))
]
NAMED = sorted({name for *_, held_by in ROWS for name in re.findall(r"`([^`]+)`", held_by)})


def test_every_threat_has_an_answer_and_a_test() -> None:
    assert all(len(row) == 3 and "`" in row[-1] for row in ROWS)


@pytest.mark.parametrize("name", NAMED)
def test_the_test_is_there(name: str) -> None:
    module, _, inner = name.partition("::")
    folder = "" if module.startswith("tests/") else "tests/webhooks/"
    source = (ROOT / f"{folder}{module}.py").read_text()
    assert re.search(rf"^ *(?:def|class) {inner}\b", source, re.MULTILINE)
