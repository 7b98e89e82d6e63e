"""The live table: how the deliveries to each endpoint stand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from config.demo.registration import Registration
from subscriptions.ids import to_uuid

STANDINGS = """
    SELECT endpoint_id AS endpoint,
           count(*) AS deliveries,
           count(*) FILTER (WHERE ended_at IS NULL AND state <> 'waiting') AS sending,
           count(*) FILTER (WHERE state = 'waiting') AS waiting,
           count(*) FILTER (WHERE state = 'delivered') AS delivered,
           count(*) FILTER (WHERE state = 'dead') AS dead,
           sum(attempt_number) AS attempts,
           percentile_cont(0.5) WITHIN GROUP (
               ORDER BY extract(epoch FROM delivery.ended_at - event.created_at)
           ) FILTER (WHERE state = 'delivered') AS median
      FROM deliveries_delivery delivery JOIN deliveries_event event ON event.id = event_id
     GROUP BY endpoint_id
"""

BAR_WIDTH = 18
WIDTH_WITH_BARS = 96


@dataclass(frozen=True, slots=True)
class Standing:
    """How many of an endpoint's deliveries are where."""

    endpoint: UUID
    deliveries: int = 0
    sending: int = 0
    waiting: int = 0
    delivered: int = 0
    dead: int = 0
    attempts: int = 0
    median: float | None = None
    """Half of what is delivered took at most so many seconds from emission."""

    @property
    def open(self) -> int:
        """How many have not ended."""
        return self.sending + self.waiting


@dataclass(frozen=True, slots=True)
class Access:
    """How to get in."""

    web: str
    password: str
    key: str


class Board:
    """The table of the endpoints, and below it how to get in."""

    def __init__(
        self,
        angarium: "psycopg.Connection[Any]",
        registrations: Sequence[Registration],
        access: Access | None,
    ) -> None:
        self.angarium = angarium
        self.registrations = registrations
        self.access = access

    def standings(self) -> dict[UUID, Standing]:
        """How things stand just now, by endpoint; one without deliveries is not among them."""
        with self.angarium.cursor(row_factory=class_row(Standing)) as cursor:
            return {row.endpoint: row for row in cursor.execute(STANDINGS)}

    def draw(self, standings: Mapping[UUID, Standing], headline: str, width: int) -> Group:
        """The picture for a screen of so many columns."""
        table = self._table(standings, bars=width >= WIDTH_WITH_BARS)
        return Group("", Text(headline, "bold"), "", table, *self._ways_in(), "")

    def _table(self, standings: Mapping[UUID, Standing], *, bars: bool) -> Table:
        table = Table(
            box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="dim"
        )
        table.add_column("endpoint", no_wrap=True)
        if bars:
            table.add_column("deliveries", width=BAR_WIDTH, no_wrap=True)
        for heading in ("sending", "waiting", "delivered", "dead", "attempts", "median"):
            table.add_column(heading, justify="right", no_wrap=True)
        for registration in self.registrations:
            receiver = registration.receiver
            endpoint = to_uuid(registration.endpoint)
            standing = standings.get(endpoint, Standing(endpoint))
            bar = Text.assemble(_bar(standing), "\n", (" ".join(receiver.patterns), "dim"))
            table.add_row(
                Text.assemble((receiver.name, "bold"), "\n", (receiver.temper, "dim")),
                *([bar] if bars else []),
                _number(standing.sending, "cyan"),
                _number(standing.waiting, "yellow"),
                _number(standing.delivered, "green"),
                _number(standing.dead, "red"),
                _number(standing.attempts),
                _duration(standing.median),
            )
        return table

    def _ways_in(self) -> list[Text]:
        if self.access is None:
            return []
        web, password, key = self.access.web, self.access.password, self.access.key
        return [
            Text.from_markup(
                f"\n[bold]Admin[/]  {web}/admin/  as [bold]admin[/] with [bold]{password}[/]\n"
                f"[bold]API[/]    {web}/api/docs/\n\n"
                "Emit an event yourself:\n[cyan]"
                f"  curl {web}/api/v1/events/ \\\n"
                f"    -H 'Authorization: Bearer {key}' \\\n"
                "    -H 'Content-Type: application/json' \\\n"
                """    -d '{"type": "order.placed", "data": {"order": "ord_1"}}'[/]\n\n"""
                "Ctrl-C ends everything."
            )
        ]


def _bar(standing: Standing) -> Text:
    """The shares of what is delivered, dead, waiting and under way, in their colours."""
    line = Text()
    done = 0
    for count, colour in (
        (standing.delivered, "green"),
        (standing.dead, "red"),
        (standing.waiting, "yellow"),
        (standing.sending, "cyan"),
    ):
        begin = round(BAR_WIDTH * done / max(1, standing.deliveries))
        done += count
        end = round(BAR_WIDTH * done / max(1, standing.deliveries))
        line.append("━" * (end - begin), colour)
    return line


def _number(count: int, style: str = "") -> Text:
    return Text(f"{count:,}", style if count else "dim")


def _duration(seconds: float | None) -> Text:
    if seconds is None:
        return Text("-", "dim")
    return Text(f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s")


def verdict(differences: Sequence[str]) -> Text:
    if not differences:
        return Text.assemble(("✓ ", "green"), "Every delivery ended as it should have.")
    return Text("\n").join(Text.assemble(("✗ ", "red"), line) for line in differences)


def failure(message: str, log: Sequence[str] = ()) -> Text:
    """What went wrong, and the end of the log that tells of it."""
    return Text("\n").join(
        [Text.assemble(("✗ ", "red"), message), *(Text(f"  {line}", "dim") for line in log)]
    )
