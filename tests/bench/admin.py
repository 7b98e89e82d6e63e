"""`make bench-admin`: the admin's and the portal's pages and the API's lists among millions of
deliveries.

For each page: how many statements it takes, how many rows PostgreSQL reads for them, be it from
tables or from indexes, and how many milliseconds an answer takes, the page's making included (the
median of several). With --write the table goes into docs/performance.md. Where a page's median is
above --limit it says so and ends with 1.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from config.embedded import valkey
from tests.bench.partitions import database
from tests.processes import ROOT
from tests.tables import as_lines, put_table

PAGE = ROOT / "docs" / "performance.md"
HEAD = ("page", "statements", "rows read", "ms")


@dataclass(frozen=True)
class Measured:
    page: str
    statements: int
    rows: int
    ms: float

    @property
    def cells(self) -> tuple[str, ...]:
        return self.page, f"{self.statements}", f"{self.rows:,}", f"{self.ms:.0f}"


def measure(rows: int, rounds: int) -> list[Measured]:
    with valkey() as broker:
        os.environ.update(REDIS_URL=broker, ALLOWED_HOSTS="testserver", LOG_LEVEL="ERROR")
        with database():
            from django.conf import settings

            from tests.bench.lists import cost, everything
            from tests.seeding import seed, vacuum

            settings.DEBUG = False  # or Django would keep each statement
            seeded = seed(rows)
            vacuum()
            found = []
            for who, client, page in everything(seeded):
                taken = cost(client, page)
                times = []
                for _ in range(rounds):
                    started = time.perf_counter()
                    page.ask(client)
                    times.append((time.perf_counter() - started) * 1000)
                name = f"{who}: {page.name}"
                found.append(Measured(name, taken.queries, taken.rows, statistics.median(times)))
            return found


def slower(measured: Iterable[Measured], limit: float) -> list[Measured]:
    """Those whose median is above so many milliseconds."""
    return [one for one in measured if one.ms > limit]


def lines(measured: list[Measured]) -> list[str]:
    """The table, as it stands in the page."""
    return as_lines(HEAD, [one.cells for one in measured])


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-admin", description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000, help="deliveries")
    parser.add_argument("--rounds", type=int, default=5, help="answers to each page")
    parser.add_argument("--write", action="store_true", help="put it into docs/performance.md")
    parser.add_argument(
        "--limit", type=float, default=1_000, help="ms that no page's median may be above"
    )
    options = parser.parse_args()
    measured = measure(options.rows, options.rounds)
    shown = Table(*HEAD)
    for one in measured:
        shown.add_row(*one.cells)
    Console(width=110).print(shown)
    if options.write:
        put_table(PAGE, "lists", lines(measured))
    sys.stdout.write(json.dumps([asdict(one) for one in measured]) + "\n")
    late = slower(measured, options.limit)
    for one in late:
        sys.stderr.write(f"{one.page}: {one.ms:.0f} ms, of {options.limit:.0f} at most\n")
    return 1 if late else 0


if __name__ == "__main__":
    raise SystemExit(main())
