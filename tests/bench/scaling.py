"""`make bench-scaling`: does the rate grow with the workers, and where does it end?

On a machine of a few cores it ends soon when everything is quick. So three things are measured:
workers that wait for slow endpoints, workers that have the machine to the full, and what one
delivery costs each part, of which tests/bench/limits.py reckons the limits of larger machines.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import psutil
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from redis import Redis

from deliveries.courier.courier import BATCH
from deliveries.emit import emit
from tests.bench import processes
from tests.bench.figures import DATA, Bench, wait_until
from tests.bench.limits import Costs, Machines, Needs, limits, needs, rate_of_waiting_workers
from tests.processes import ROOT
from tests.tables import as_lines

PAGE = ROOT / "docs" / "scaling.md"
TABLES = ("waiting", "busy", "postgresql", "costs", "limits")
ANSWER_AFTER = 0.2
"""Seconds that a slow endpoint takes."""
PLAIN_PROCESSES = 2
"""Of each plain worker."""
CLAIMED_FOR = 0.1
"""Seconds between claim and record of a worker that posts nothing."""
ENDPOINTS = 100
"""Each of which wants each event there."""
ROUNDS = 3
NOTHING = (0.0, 0.0, 0.0)
RATES = (1_000, 10_000, 100_000, 1_000_000)

Lines = list[str]


class Reading(NamedTuple):
    """What the servers have used and written until now. Times are in seconds of CPU."""

    postgres_cpu: float
    wal_bytes: int
    transactions: int
    stored_bytes: int
    redis_cpu: float
    redis_commands: int


class Scaling:
    """The measurements, of the same system as the figures."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def run(self, wanted: list[str]) -> Iterator[tuple[str, Lines]]:
        """The name and the lines of each table, or of those that are wanted."""
        wanted = wanted or [*TABLES]
        call_command("migrate", verbosity=0)
        self.write_whole_pages()
        with processes.receiver(self.bench.logs) as self.bench.receiver:
            if "waiting" in wanted:
                yield "waiting", self.waiting()
            if "busy" in wanted:
                yield "busy", self.busy()
            if "postgresql" in wanted:
                yield "postgresql", self.postgresql()
            if {"costs", "limits"} & {*wanted}:
                emitting, delivering = self.costs()
                yield "costs", costs_table(emitting, delivering)
                yield "limits", limits_table(emitting + delivering, Machines())

    def write_whole_pages(self) -> None:
        """Have the embedded PostgreSQL write as much as one in production would."""
        with connection.cursor() as cursor:
            cursor.execute("ALTER SYSTEM SET full_page_writes = on")
            cursor.execute("SELECT pg_reload_conf()")
            cursor.execute("CHECKPOINT")

    def waiting(self) -> Lines:
        """Workers that wait for endpoints, and have CPU to spare."""
        rows = []
        pool = ("--pool", "prefork", "--concurrency", str(PLAIN_PROCESSES))
        for workers in (1, 2, 4, 8):
            slots = workers * PLAIN_PROCESSES
            rate = self.rate(slots, {"LANE": "plain"}, *pool, workers=workers)
            rows.append(("plain", workers, slots, rate))
        for slots in (20, 40, 80, 160):
            rate = self.rate(slots, {"LANE": "courier", "COURIER_CONCURRENCY": str(slots)})
            rows.append(("courier", 1, slots, rate))
        return table(
            (
                "lane",
                "workers",
                "deliveries at once",
                "delivered a second",
                "deliveries at once / answer time",
            ),
            [(*row, rate_of_waiting_workers(row[2], ANSWER_AFTER)) for row in rows],
        )

    def rate(self, slots: int, lane: dict[str, str], *options: str, workers: int = 1) -> float:
        self.bench.clear()
        path = f"/after/{ANSWER_AFTER}"
        figure = self.bench.deliveries(30 * slots, lane, *options, workers=workers, path=path)
        return figure["rate"]

    def busy(self) -> Lines:
        """Couriers at endpoints that answer at once: whose are the cores when no more are left?

        The best of several rounds, in which all take turns: other work only ever takes away.
        """
        best: dict[int, tuple[float, float, float]] = {}
        for _ in range(ROUNDS):
            for workers in (1, 2, 4):
                best[workers] = max(best.get(workers, NOTHING), self.full(workers))
        return table(
            (
                *("courier workers", "delivered a second", "cores that the workers had"),
                "cores that PostgreSQL had, emitting included",
            ),
            [(workers, *round_) for workers, round_ in best.items()],
        )

    def full(self, workers: int) -> tuple[float, float, float]:
        """The rate, and the cores that the workers and PostgreSQL had."""
        self.bench.clear()
        before, began = postgres_cpu(), time.perf_counter()
        figure = self.bench.deliveries(15_000, {"LANE": "courier"}, workers=workers)
        used, took = postgres_cpu() - before, time.perf_counter() - began
        return figure["rate"], figure["cpu_us"] * figure["rate"] / 1e6, used / took

    def postgresql(self) -> Lines:
        """Workers that only claim and record, at a PostgreSQL that has one core, and no more.

        They have the other cores, so that nothing but PostgreSQL is full. The best of the rounds.
        """
        first, *others = range(psutil.cpu_count() or 1)
        best: dict[int, tuple[float, float]] = {}
        with processes.on_cores(postgres(), [first]):
            for _ in range(ROUNDS):
                for workers in (1, 2, 4, 8, 16):
                    self.bench.clear()
                    figure = self.claiming(workers, others or [first])
                    best[workers] = max(best.get(workers, (0.0, 0.0)), figure)
        return table(
            (
                *("workers", "claimed and recorded a second"),
                *("deliveries at once / answer time", "PostgreSQL's one core in use"),
            ),
            [
                (workers, rate, rate_of_waiting_workers(workers * BATCH, CLAIMED_FOR), used)
                for workers, (rate, used) in best.items()
            ],
        )

    def claiming(self, workers: int, cores: list[int]) -> tuple[float, float]:
        """The rate, and the share of a core that PostgreSQL had."""
        self.bench.endpoints(ENDPOINTS)
        count = ENDPOINTS * len(self.bench.emitted(self.bench.size(40 * min(workers, 10))))
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        with ExitStack() as stack:
            children = [
                stack.enter_context(
                    processes.spoken(
                        self.bench.logs / "claiming.log",
                        *("tests.bench.claiming", str(number), str(workers), str(CLAIMED_FOR)),
                    )
                )
                for number in range(workers)
            ]
            for child in children:
                child.process.cpu_affinity(cores)
                child.hear()
            used, began = postgres_cpu(), time.perf_counter()
            for child in children:
                child.say("begin")
            for child in children:
                child.hear()
            took = time.perf_counter() - began
            used = postgres_cpu() - used
        assert not self.bench.unfinished()
        return count / took, used / took

    def costs(self) -> tuple[Costs, Costs]:
        """What emitting one event for one endpoint costs each part, and then its delivery."""
        bench = self.bench
        bench.clear()
        count = bench.size(10_000)
        for number in range(10):
            bench.endpoints(1, pattern=f"bench.event{number}")
        start, cpu = read(), time.process_time()
        for number in range(count):
            emit(f"bench.event{number % 10}", DATA)
        emitter_cpu = time.process_time() - cpu
        emitted = read()
        with bench.ready_worker("courier0", LANE="courier") as worker:
            cpu = worker.cpu()
            bench.begin("courier0")
            received = bench.receiver.received
            # PostgreSQL is not asked meanwhile: its transactions are counted.
            wait_until(lambda: len(received()) >= count, "the deliveries", pause=0.5)
            wait_until(lambda: not bench.unfinished(), "the last record", pause=0.5)
            worker_cpu = worker.cpu() - cpu
        delivered = read()
        return (
            cost_of_one(start, emitted, count, emitter_cpu=emitter_cpu),
            cost_of_one(emitted, delivered, count, worker_cpu=worker_cpu),
        )


def read() -> Reading:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(
            "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint, xact_commit,"
            " pg_database_size(datname)"
            " FROM pg_stat_database WHERE datname = current_database()"
        )
        wal_bytes, transactions, stored = cursor.fetchone()
    with Redis.from_url(settings.REDIS_URL) as redis:
        used = redis.info()
    return Reading(
        postgres_cpu=postgres_cpu(),
        wal_bytes=wal_bytes,
        transactions=transactions,
        stored_bytes=stored,
        redis_cpu=used["used_cpu_user"] + used["used_cpu_sys"],
        redis_commands=used["total_commands_processed"],
    )


def postgres() -> list[psutil.Process]:
    """The server's processes, the first of which has started the others."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW data_directory")
        directory = Path(cursor.fetchone()[0])
    return processes.family_of(int((directory / "postmaster.pid").read_text().split()[0]))


def postgres_cpu() -> float:
    """Seconds of CPU of the server's processes, those that have ended included."""
    return processes.cpu_of(postgres())


def cost_of_one(
    before: Reading,
    after: Reading,
    count: int,
    worker_cpu: float = 0.0,
    emitter_cpu: float = 0.0,
) -> Costs:
    def each(name: str) -> float:
        return float(getattr(after, name) - getattr(before, name)) / count

    return Costs(
        postgres_cpu=each("postgres_cpu") * 1e6,
        wal_bytes=each("wal_bytes"),
        transactions=each("transactions"),
        stored_bytes=each("stored_bytes"),
        redis_cpu=each("redis_cpu") * 1e6,
        redis_commands=each("redis_commands"),
        worker_cpu=worker_cpu / count * 1e6,
        emitter_cpu=emitter_cpu / count * 1e6,
    )


MEANINGS = {
    "postgres_cpu": "PostgreSQL's CPU, us",
    "wal_bytes": "PostgreSQL's log, bytes",
    "transactions": "PostgreSQL's transactions",
    "stored_bytes": "what is stored, indexes included, bytes",
    "redis_cpu": "Redis' CPU, us",
    "redis_commands": "Redis' commands",
    "worker_cpu": "the worker's CPU, us",
    "emitter_cpu": "the emitting process' CPU, us",
}


def costs_table(emitting: Costs, delivering: Costs) -> Lines:
    columns = (emitting, delivering, emitting + delivering)
    return table(
        ("one event for one endpoint", "emit()", "delivery", "both"),
        [
            (
                MEANINGS[one.name],
                *(getattr(costs, one.name) for costs in columns),
            )
            for one in fields(Costs)
        ],
    )


def limits_table(costs: Costs, machines: Machines) -> Lines:
    wanted = [needs(costs, rate, machines) for rate in RATES]
    rows: list[tuple[object, ...]] = [
        (meaning, *(shown(one) for one in map(figure, wanted)))
        for meaning, figure in NEEDED.items()
    ]
    full = ", ".join(f"{part} {rate:,.0f}/s" for part, rate in limits(costs, machines).items())
    return [
        f"Assumed: {machines.postgres_cores} cores for PostgreSQL, each as quick as this machine's;"
        f" {machines.wal_bytes_a_second / 1e6:,.0f} MB of log a second; {machines.load:.0%} of each"
        " part in use.",
        f"With that, one of each is full at: {full}.",
        "",
        *table(("deliveries a second", *(f"{rate:,}" for rate in RATES)), rows),
    ]


NEEDED: dict[str, Callable[[Needs], float]] = {
    "cores of PostgreSQL": lambda one: one.postgres_cores,
    "MB of its log a second": lambda one: one.wal_bytes_a_second / 1e6,
    "its transactions a second": lambda one: one.transactions_a_second,
    "TB more in a day, before retention": lambda one: one.stored_bytes_a_day / 1e12,
    "PostgreSQLs of the assumed kind": lambda one: one.databases,
    "Redis servers": lambda one: one.redises,
    "cores of courier workers": lambda one: one.worker_cores,
    "cores that emit": lambda one: one.emitter_cores,
}


def table(heads: tuple[str, ...], rows: list[tuple[object, ...]]) -> Lines:
    return as_lines(heads, [[*map(shown, row)] for row in rows])


def shown(value: object) -> str:
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2g}" if value < 1 else f"{value:,.1f}"
