"""What a person sees: a table, in colour on a terminal; or JSON, a line for each row."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from angarium_client.cli.times import local

TONES = {
    **dict.fromkeys(("delivered", "active", "redriven", "recovered", "finished"), "green"),
    **dict.fromkeys(("waiting", "held", "queued", "gathering", "paused", "unverified"), "yellow"),
    **dict.fromkeys(("pending", "sending", "batched", "feed", "running"), "cyan"),
    **dict.fromkeys(("dead", "disabled", "open"), "red"),
    **dict.fromkeys(("discarded", "dropped", "deleted", "cancelled"), "dim"),
}

WIDTH_OF_A_FILE = 250
"""Columns, where nobody looks on and COLUMNS does not say."""


class Output:
    """Writes rows to standard output."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = _console()
        if not self.console.is_terminal and "COLUMNS" not in os.environ:
            self.console = _console(WIDTH_OF_A_FILE)

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
            table.add_row(*(cell(row[column]) for column in columns))
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
            table.add_row(name.replace("_", " "), cell(value))
        self.console.print(table)

    def line(self, row: Mapping[str, Any]) -> None:
        """One row, at once."""
        if self.as_json:
            click.echo(json.dumps(row, ensure_ascii=False))
        else:
            self.console.print(Text("  ").join(cell(value) for value in row.values()))

    def say(self, sentence: str) -> None:
        """What is for a person alone."""
        if not self.as_json:
            self.console.print(Text(sentence))

    def told(self, row: Mapping[str, Any], sentence: str) -> None:
        """A sentence for a person, the row in JSON."""
        if self.as_json:
            self.line(row)
        else:
            self.say(sentence)


def _console(width: int | None = None) -> Console:
    """One to which what others have written is no markup."""
    return Console(highlight=False, markup=False, emoji=False, width=width)


def shown(text: str) -> str:
    """A text of others' without what would steer the terminal, or hide from its reader."""
    return "".join(
        one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode()
        for one in text
    )


def tone(state: str) -> str:
    """The colour of a state, or of what became of something."""
    return TONES.get(state, "")


def cell(value: Any) -> Text:
    """A value as it stands in a table."""
    if value is None or value == "":
        return Text("-", style="dim")
    if isinstance(value, dict | list):
        return Text(shown(json.dumps(value, ensure_ascii=False)))
    text = str(value)
    moment = local(text)
    return Text(f"{moment:%Y-%m-%d %H:%M:%S}" if moment else shown(text), style=tone(text))
