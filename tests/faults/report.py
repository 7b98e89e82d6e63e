"""What the faults came to, as tables of docs/reliability.md."""

from collections.abc import Iterable

from tests.processes import ROOT
from tests.tables import put_table, table_in

PAGE = ROOT / "docs" / "reliability.md"
HEADS = {
    "faults": "fault | lane | emitted | received | lost | doubled | in flight when it broke |"
    " seconds to recover",
    "soak": "soaked | lane | MB after warm-up | MB at the end | MB more in an hour |"
    " descriptors, or connections, after warm-up | at the end",
}
Row = tuple[str | int | float | None, ...]
"""The first two cells, texts, say whose row it is."""


def write(table: str, rows: Iterable[Row]) -> None:
    """Put rows into a table, each in the place of the earlier one of its first cells."""
    rows = list(rows)
    if not rows:
        return
    lines = {key_of(line): line for line in table_in(PAGE, table)[2:]}
    for row in rows:
        line = f"| {' | '.join(map(as_cell, row))} |"
        lines[key_of(line)] = line
    faults = list(dict.fromkeys(fault for fault, _ in lines))
    in_order = sorted(lines, key=lambda key: (faults.index(key[0]), key[1]))
    head = HEADS[table]
    columns = head.count("|") - 1
    rule = f"| --- | --- |{' --: |' * columns}"
    put_table(PAGE, table, [f"| {head} |", rule, *(lines[key] for key in in_order)])


def as_cell(value: str | int | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else value


def key_of(line: str) -> tuple[str, str]:
    _, fault, lane, *_ = line.split("|")
    return fault.strip(), lane.strip()
