"""What a person sees: a table, in colour on a terminal; or JSON, a line for each row."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

TONES = {
    **dict.fromkeys(("delivered", "active", "redriven", "recovered"), "green"),
    **dict.fromkeys(("waiting", "held", "queued", "gathering", "paused", "unverified"), "yellow"),
    **dict.fromkeys(("pending", "sending", "batched", "feed"), "cyan"),
    **dict.fromkeys(("dead", "disabled", "open"), "red"),
    **dict.fromkeys(("discarded", "dropped", "deleted"), "dim"),
}

WIDTH_OF_A_FILE = 250
"""Columns, where nobody looks on."""


class Output:
    """Writes rows to standard output."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(highlight=False)
        if not self.console.is_terminal:
            self.console = Console(highlight=False, width=WIDTH_OF_A_FILE)

    def rows(self, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
        """A line for each row: of these columns, or of all in JSON."""
        if self.as_json:
            for row in rows:
                self.line(row)
            return
        table = Table(box=None, header_style="bold", pad_edge=False)
        for place, column in enumerate(columns):
            # The first is an id, mostly, and is there to be copied.
            table.add_column(column.replace("_", " "), overflow="fold", no_wrap=not place)
        for row in rows:
            table.add_row(*(_cell(row[column]) for column in columns))
        self.console.print(table if table.row_count else Text("None.", style="dim"))

    def one(self, row: Mapping[str, Any]) -> None:
        """All that there is of one thing."""
        if self.as_json:
            self.line(row)
            return
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, value in row.items():
            table.add_row(name.replace("_", " "), _cell(value))
        self.console.print(table)

    def line(self, row: Mapping[str, Any]) -> None:
        """One row, at once."""
        if self.as_json:
            click.echo(json.dumps(row, ensure_ascii=False))
        else:
            self.console.print(Text("  ").join(_cell(value) for value in row.values()))

    def say(self, sentence: str) -> None:
        """What is for a person alone."""
        if not self.as_json:
            self.console.print(Text(sentence))


def _cell(value: Any) -> Text:
    if value is None or value == "":
        return Text("-", style="dim")
    if isinstance(value, dict | list):
        return Text(json.dumps(value, ensure_ascii=False))
    text = str(value)
    return Text(_when(text) or text, style=TONES.get(text, ""))


def _when(text: str) -> str | None:
    """A time as it is on the clocks here; None where it is no time."""
    if len(text) < 20 or text[4] != "-" or text[10] != "T":
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return f"{moment.replace(tzinfo=moment.tzinfo or UTC).astimezone():%Y-%m-%d %H:%M:%S}"
