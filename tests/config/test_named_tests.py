"""The tests that a page says hold something are there."""

import re

import pytest

from tests.processes import ROOT

PAGES = ["SECURITY.md"]
NAMED = re.compile(r"`(tests/[\w/]+)(?:::(\w+))?`")


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_exists(page: str) -> None:
    named = NAMED.findall((ROOT / page).read_text())
    assert len(named) > 20
    for path, name in named:
        source = (ROOT / path).with_suffix(".py").read_text()
        assert re.search(rf"(def|class) {name}\b", source) if name else "def test_" in source


@pytest.mark.parametrize("page", PAGES)
def test_every_row_of_a_page_names_a_test(page: str) -> None:
    rows = re.findall(r"^\| (?!---|threat)(.*)$", (ROOT / page).read_text(), re.MULTILINE)
    assert [row for row in rows if not NAMED.search(row)] == []
