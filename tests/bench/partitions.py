"""`make bench-retention`: are partitions by time for events and attempts worth it?

Two layouts with the same rows, side by side in one run: the tables as they are, and events and
attempts partitioned by the time in their ids, a day each. What is written and read for a delivery
is measured in both, with what it costs to drop the oldest day: rows in chunks and a vacuum, or
partitions. Each figure is the median of several rounds in which the layouts take turns.

With --write the table goes into docs/retention.md.
"""

import argparse
import json
import os
import re
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from cryptography.fernet import Fernet
from rich.console import Console
from rich.table import Table

from config.embedded import postgresql
from tests.tables import put_table

PAGE = Path(__file__).parents[2] / "docs" / "retention.md"
DAYS = 10
BATCH = 50
CHUNK = 500
WRITTEN = 2_000
"""Rows that are written for a figure of the hot path."""

LAYOUTS = ("plain", "partitioned")
FIGURES = {
    "emit": ("events written a second, a transaction each", "{:,.0f}"),
    "claim": ("deliveries claimed a second, in batches of 50", "{:,.0f}"),
    "record": ("deliveries recorded a second, in batches of 50", "{:,.0f}"),
    "drop_s": ("seconds to drop the oldest day, vacuum included", "{:,.2f}"),
    "drop_us": ("us for each event of it, with its delivery and attempt", "{:,.1f}"),
    "record_while_dropping": ("deliveries recorded a second meanwhile", "{:,.0f}"),
    "size_mb": ("MB of the three tables with their indexes at the start", "{:,.0f}"),
    "refilled_mb": ("MB after as many new rows in place of the dropped", "{:,.0f}"),
}

# An id as of a moment: its 48 bits of milliseconds, and the rest from the row's number.
ID = "(lpad(to_hex({ms}::bigint), 12, '0') || substr(md5('{salt}' || n), 1, 20))::uuid"
DAY_MS = 86_400_000

SEED = """
    WITH made AS MATERIALIZED (
        SELECT {event} AS event, {delivery} AS delivery,
               to_timestamp({ms} / 1000.0) AS at
          FROM generate_series(%(first)s::bigint, %(last)s::bigint) n
    ), event AS (
        INSERT INTO {layout}_event (id, type, payload, occurred_at, created_at, delivery_count,
                                    fanned_out_at)
        SELECT event, 'invoice.paid', %(payload)s, at, at, 1, at FROM made
    ), delivery AS (
        INSERT INTO {layout}_delivery (id, event_id, endpoint_id, state, attempt_number,
                                       round_start, created_at, ended_at)
        SELECT delivery, event, %(endpoint)s, 'delivered', 1, 0, at, at FROM made
    )
    INSERT INTO {layout}_attempt (delivery_id, number, outcome, status, duration_ms, error,
                                  response_body, ended_at)
    SELECT delivery, 1, 'delivered', 200, 12, '', 'ok', at FROM made
"""

EMIT = """
    WITH event AS (
        INSERT INTO {layout}_event (id, type, payload, occurred_at, created_at, delivery_count,
                                    fanned_out_at)
        SELECT {event}, 'invoice.paid', %(payload)s, now(), now(), 1, now()
          FROM (SELECT %(n)s::bigint AS n) one
     RETURNING id
    )
    INSERT INTO {layout}_delivery (id, event_id, endpoint_id, state, attempt_number,
                                   round_start, created_at, rung_at)
    SELECT {delivery}, event.id, %(endpoint)s, 'pending', 0, 0, now(), now()
      FROM event, (SELECT %(n)s::bigint AS n) one RETURNING id
"""

CLAIM = """
    WITH claimed AS (
        UPDATE {layout}_delivery SET state = 'sending', attempt_number = attempt_number + 1,
               lease_expires_at = now() + interval '30 seconds'
         WHERE id = ANY(%(ids)s) AND state = 'pending' RETURNING id, event_id
    )
    SELECT claimed.id, event.payload FROM claimed JOIN {layout}_event event ON event.id = event_id
"""

RECORD = """
    WITH recorded AS (
        UPDATE {layout}_delivery SET state = 'delivered', lease_expires_at = NULL, ended_at = now()
         WHERE id = ANY(%(ids)s) AND state = 'sending' RETURNING id, attempt_number
    )
    INSERT INTO {layout}_attempt (delivery_id, number, outcome, status, duration_ms, error,
                                  response_body, ended_at)
    SELECT id, attempt_number, 'delivered', 200, 12, '', 'ok', now() FROM recorded
"""

OLDEST = """
    SELECT id FROM {layout}_event WHERE id < %(before)s ORDER BY id LIMIT %(chunk)s FOR UPDATE
"""


class Layout:
    """The three tables in one of the layouts."""

    def __init__(self, name: str, connect: Callable[[], Any], endpoint: Any, rows: int) -> None:
        self.name = name
        self.connect = connect
        self.endpoint = endpoint
        self.rows = rows
        self.oldest, self.newest = 0, DAYS - 1
        self.payload = json.dumps({"id": "in_4242", "lines": [{"sku": n} for n in range(30)]})
        self.begun = int(time.time() * 1000) - DAYS * DAY_MS
        self.written = 10**9

    def sql(self, statement: str, ms: str = "0") -> str:
        ids = {"event": ID.format(ms=ms, salt="e"), "delivery": ID.format(ms=ms, salt="d")}
        return statement.format(layout=self.name, ms=ms, **ids)

    def start_of(self, day: int) -> int:
        return self.begun + day * DAY_MS

    def id_at(self, day: int) -> str:
        return f"{self.start_of(day):012x}" + "0" * 20

    def make(self, cursor: Any) -> None:
        for table in ("event", "delivery", "attempt"):
            split = self.name == "partitioned" and table != "delivery"
            key = {"event": "id", "attempt": "delivery_id"}.get(table, "")
            by = f"PARTITION BY RANGE ({key})" if split else ""
            of = f"LIKE deliveries_{table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS"
            of += " INCLUDING IDENTITY" if table == "attempt" else ""
            cursor.execute(f"CREATE TABLE {self.name}_{table} ({of}) {by}")
            for index in self._indexes(cursor, table):
                # A unique index has to have the key that partitions go by: some are not unique.
                if split and not re.search(rf"\((\w+, )*{key}\b", index):
                    index = index.replace("UNIQUE ", "")
                cursor.execute(index)
        self.add_partition(cursor, self.newest)
        for day in range(DAYS - 1):
            self.add_partition(cursor, day)
        cursor.execute(
            f"ALTER TABLE {self.name}_delivery ADD FOREIGN KEY (event_id)"
            f" REFERENCES {self.name}_event (id)"
        )
        cursor.execute(
            f"ALTER TABLE {self.name}_attempt ADD FOREIGN KEY (delivery_id)"
            f" REFERENCES {self.name}_delivery (id)"
        )

    def _indexes(self, cursor: Any, table: str) -> list[str]:
        cursor.execute(
            "SELECT indexdef FROM pg_indexes WHERE tablename = %s", [f"deliveries_{table}"]
        )
        made = []
        for number, (definition,) in enumerate(cursor.fetchall()):
            name = f"{self.name}_{table}_{number}"
            definition = re.sub(r"INDEX \S+ ON", f"INDEX {name} ON", definition)
            made.append(definition.replace(f"public.deliveries_{table}", f"{self.name}_{table}"))
        return made

    def add_partition(self, cursor: Any, day: int) -> None:
        if self.name == "partitioned":
            first, last = self.id_at(day), self.id_at(day + 1)
            for table in ("event", "attempt"):
                cursor.execute(
                    f"CREATE TABLE {self.name}_{table}_of_{day} PARTITION OF {self.name}_{table}"
                    f" FOR VALUES FROM ('{first}') TO ('{last}')"
                )

    def fill(self, cursor: Any, day: int) -> None:
        """As many rows as a day has, spread over it."""
        a_day = self.rows // DAYS
        ms = f"({self.start_of(day)} + (n %% {a_day}) * {DAY_MS // a_day})"
        step = 20_000
        for first in range(day * a_day, (day + 1) * a_day, step):
            last = min(first + step, (day + 1) * a_day) - 1
            cursor.execute(
                self.sql(SEED, ms),
                {
                    "first": first,
                    "last": last,
                    "payload": self.payload,
                    "endpoint": self.endpoint,
                },
            )

    def measure(self) -> dict[str, float]:
        with self.connect() as connection, connection.cursor() as cursor:
            figures = {"size_mb": self.size(cursor)}
            ids, figures["emit"] = self.emit(cursor, WRITTEN)
            figures["claim"] = self.in_batches(cursor, CLAIM, ids)
            figures["record"] = self.in_batches(cursor, RECORD, ids)
            ids, _ = self.emit(cursor, 4 * WRITTEN)
            self.in_batches(cursor, CLAIM, ids)
            dropped = threading.Thread(target=self.timed_drop, args=[figures])
            dropped.start()
            figures["record_while_dropping"] = self.in_batches(
                cursor, RECORD, ids, until=lambda: not dropped.is_alive()
            )
            dropped.join()
            self.in_batches(cursor, RECORD, ids)
            self.oldest, self.newest = self.oldest + 1, self.newest + 1
            self.add_partition(cursor, self.newest)
            self.fill(cursor, self.newest)
            figures["refilled_mb"] = self.size(cursor)
        return figures

    def emit(self, cursor: Any, count: int) -> tuple[list[Any], float]:
        ids = []
        started = time.perf_counter()
        for _ in range(count):
            self.written += 1
            values = {"n": self.written, "payload": self.payload, "endpoint": self.endpoint}
            cursor.execute(self.sql(EMIT, str(self.start_of(self.newest) + 1)), values)
            ids.append(cursor.fetchone()[0])
        return ids, count / (time.perf_counter() - started)

    def in_batches(
        self,
        cursor: Any,
        statement: str,
        ids: list[Any],
        until: Callable[[], bool] = lambda: False,
    ) -> float:
        started, done = time.perf_counter(), 0
        while done < len(ids) and not (done and until()):
            cursor.execute(self.sql(statement), {"ids": ids[done : done + BATCH]})
            done += BATCH
        return done / (time.perf_counter() - started)

    def timed_drop(self, figures: dict[str, float]) -> None:
        started = time.perf_counter()
        with self.connect() as connection, connection.cursor() as cursor:
            getattr(self, f"drop_{self.name}")(connection, cursor)
            tables = (
                ["delivery"] if self.name == "partitioned" else ["event", "delivery", "attempt"]
            )
            for table in tables:
                cursor.execute(f"VACUUM {self.name}_{table}")
        figures["drop_s"] = time.perf_counter() - started
        figures["drop_us"] = figures["drop_s"] / (self.rows // DAYS) * 1e6

    def drop_plain(self, connection: Any, cursor: Any) -> None:
        for events in self.oldest_events(connection, cursor):
            cursor.execute(
                "DELETE FROM plain_attempt USING plain_delivery delivery"
                " WHERE delivery_id = delivery.id AND event_id = ANY(%s)",
                [events],
            )
            cursor.execute("DELETE FROM plain_delivery WHERE event_id = ANY(%s)", [events])
            cursor.execute("DELETE FROM plain_event WHERE id = ANY(%s)", [events])

    def drop_partitioned(self, connection: Any, cursor: Any) -> None:
        # Attempts first, as they refer to deliveries; those have to go row by row before events.
        self.drop_partition(cursor, "attempt")
        bounds = {"before": self.id_at(self.oldest + 1), "chunk": CHUNK}
        while True:
            cursor.execute(
                "DELETE FROM partitioned_delivery WHERE id IN (SELECT id FROM partitioned_delivery"
                " WHERE id < %(before)s ORDER BY id LIMIT %(chunk)s)",
                bounds,
            )
            if cursor.rowcount < CHUNK:
                break
        self.drop_partition(cursor, "event")

    def drop_partition(self, cursor: Any, table: str) -> None:
        partition = f"{self.name}_{table}_of_{self.oldest}"
        cursor.execute(f"ALTER TABLE {self.name}_{table} DETACH PARTITION {partition} CONCURRENTLY")
        cursor.execute(f"DROP TABLE {partition}")

    def oldest_events(self, connection: Any, cursor: Any) -> Iterator[list[Any]]:
        while True:
            with connection.transaction():
                cursor.execute(
                    self.sql(OLDEST), {"before": self.id_at(self.oldest + 1), "chunk": CHUNK}
                )
                events = [event for (event,) in cursor.fetchall()]
                if not events:
                    return
                yield events

    def size(self, cursor: Any) -> float:
        cursor.execute(
            "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c"
            " WHERE relkind = 'r' AND relname LIKE %s",
            [f"{self.name}\\_%"],
        )
        return float(cursor.fetchone()[0]) / 2**20


@contextmanager
def database() -> Iterator[Callable[[], Any]]:
    """A PostgreSQL of its own with Angarium's tables; gives what opens a connection to it."""
    with postgresql() as url:
        os.environ.update(
            DATABASE_URL=url,
            DEBUG="1",
            DJANGO_SETTINGS_MODULE="config.settings",
            SECRET_KEY=token_urlsafe(50),
            ENCRYPTION_KEYS=Fernet.generate_key().decode(),
        )
        import django
        import psycopg

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", verbosity=0)
        connection.close()
        yield lambda: psycopg.connect(url, autocommit=True)


def measure(rows: int, rounds: int) -> dict[str, dict[str, float]]:
    with database() as connect:
        endpoint = "0" * 32
        layouts = [Layout(name, connect, endpoint, rows) for name in LAYOUTS]
        found: dict[str, list[dict[str, float]]] = defaultdict(list)
        with connect() as connection, connection.cursor() as cursor:
            for layout in layouts:
                layout.make(cursor)
                for day in range(DAYS):
                    layout.fill(cursor, day)
            cursor.execute("VACUUM ANALYZE")
        for _ in range(rounds):
            for layout in layouts:
                found[layout.name].append(layout.measure())
    return {
        name: {figure: statistics.median(one[figure] for one in measured) for figure in FIGURES}
        for name, measured in found.items()
    }


def lines(results: dict[str, dict[str, float]], rows: int) -> list[str]:
    """The table, as it stands in docs/retention.md."""
    written = [f"| {rows:,} events in {DAYS} days | plain | partitioned |", "| --- | --- | --- |"]
    for figure, (meaning, form) in FIGURES.items():
        values = " | ".join(form.format(results[name][figure]) for name in LAYOUTS)
        written.append(f"| {meaning} | {values} |")
    return written


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-retention", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="events in each layout")
    parser.add_argument("--rounds", type=int, default=3, help="rounds for each figure")
    parser.add_argument("--write", action="store_true", help="put it into docs/retention.md")
    options = parser.parse_args()
    results = measure(options.rows, options.rounds)
    shown = Table("", *LAYOUTS)
    for figure, (meaning, form) in FIGURES.items():
        shown.add_row(meaning, *(form.format(results[name][figure]) for name in LAYOUTS))
    Console(width=110).print(shown)
    if options.write:
        put_table(PAGE, "figures", lines(results, options.rows))
    sys.stdout.write(json.dumps(results) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
