"""Where each part's limit lies, reckoned from what one delivery costs it; nothing is measured here.

It is taken for granted that a delivery costs the same at any rate: that PostgreSQL's indexes stay
in memory, that batches are as full as they were, and that cores and disks are as quick as assumed.
"""

from dataclasses import dataclass
from math import ceil
from operator import add

DAY = 24 * 3600


@dataclass(frozen=True)
class Costs:
    """What one delivery costs, its event's emit() included. CPU is in microseconds."""

    postgres_cpu: float
    wal_bytes: float
    transactions: float
    stored_bytes: float
    redis_cpu: float
    redis_commands: float
    worker_cpu: float
    emitter_cpu: float

    def __add__(self, other: "Costs") -> "Costs":
        return Costs(*map(add, vars(self).values(), vars(other).values()))


@dataclass(frozen=True)
class Machines:
    """What is assumed of the machines that each part has to itself."""

    postgres_cores: int = 32
    wal_bytes_a_second: float = 400e6
    """What its disks take and its replicas follow."""
    load: float = 0.7
    """The share of a part that may be busy: beyond it, waits grow."""


@dataclass(frozen=True)
class Needs:
    """What a rate takes. Workers and emitters are counted in cores: there may be any number."""

    rate: float
    postgres_cores: float
    wal_bytes_a_second: float
    transactions_a_second: float
    redis_cores: float
    worker_cores: float
    emitter_cores: float
    stored_bytes_a_day: float
    databases: int
    """How many PostgreSQLs of the assumed kind."""
    redises: int
    """How many Redis servers, each of which works with one core."""


def limits(costs: Costs, machines: Machines) -> dict[str, float]:
    """The deliveries a second at which each part that cannot simply be doubled is full."""
    return {
        "PostgreSQL's CPU": machines.load * machines.postgres_cores / costs.postgres_cpu * 1e6,
        "PostgreSQL's log": machines.load * machines.wal_bytes_a_second / costs.wal_bytes,
        "Redis' one core": machines.load / costs.redis_cpu * 1e6,
    }


def needs(costs: Costs, rate: float, machines: Machines) -> Needs:
    full = limits(costs, machines)
    database = min(full["PostgreSQL's CPU"], full["PostgreSQL's log"])
    return Needs(
        rate=rate,
        postgres_cores=rate * costs.postgres_cpu / 1e6 / machines.load,
        wal_bytes_a_second=rate * costs.wal_bytes,
        transactions_a_second=rate * costs.transactions,
        redis_cores=rate * costs.redis_cpu / 1e6 / machines.load,
        worker_cores=rate * costs.worker_cpu / 1e6 / machines.load,
        emitter_cores=rate * costs.emitter_cpu / 1e6 / machines.load,
        stored_bytes_a_day=rate * costs.stored_bytes * DAY,
        databases=ceil(rate / database),
        redises=ceil(rate / full["Redis' one core"]),
    )


def rate_of_waiting_workers(slots: int, seconds: float) -> float:
    """Deliveries a second where each of so many slots waits so long for an answer."""
    return slots / seconds
