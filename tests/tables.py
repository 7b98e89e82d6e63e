"""Tables that commands write into pages of docs/, so that no figure there is typed by hand."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path


def table_in(page: Path, name: str) -> list[str]:
    """The lines of the table, which stands between two lines that name it."""
    return _place(page, name)[2].splitlines()


def put_table(page: Path, name: str, lines: Iterable[str]) -> None:
    """Put the lines in place of those that are there."""
    found = _place(page, name)
    text = "".join(f"{line}\n" for line in lines)
    page.write_text(found.string[: found.start(2)] + text + found.string[found.end(2) :])


def as_lines(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table, whose first column is of words and the others of numbers."""
    rule = f"| --- |{' --: |' * (len(heads) - 1)}"
    return [f"| {' | '.join(heads)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)]


def _place(page: Path, name: str) -> re.Match[str]:
    between = re.compile(rf"(<!-- {name}: .* -->\n)(.*?)(<!-- end of {name} -->)", re.DOTALL)
    found = between.search(page.read_text())
    assert found, f"{page} has no place for the table of {name}"
    return found
