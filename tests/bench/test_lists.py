"""No list of the admin or the API reads more as the tables grow, whatever it is filtered by."""

from dataclasses import dataclass, replace
from functools import cache

import pytest
from django.db import connection, transaction
from django.db.models import Model

from deliveries import status
from deliveries.admin import dead_letters, endpoint_health
from deliveries.api import visibility
from deliveries.dashboard import traffic
from deliveries.models import Attempt, DeadLetter, Delivery, Event
from subscriptions.admin import pages
from subscriptions.admin.base import AngariumAdmin
from subscriptions.history import HistoryEntry
from subscriptions.models import Endpoint, Subscriber
from tests.bench.admin import Measured, slower
from tests.bench.lists import Cost, cost, everything
from tests.seeding import Density, seed, vacuum

SMALL, LARGE = 4_000, 20_000
DENSE = Density(failing=5, history=4)
"""So that a scan of dead letters or of the history shows as one of deliveries does."""
CROWDED = replace(DENSE, subscriber=1)
MOST_STATEMENTS = 20
A_BIT = 800
"""Rows that a page may read more, as until it is full. Fewer than any table grows by."""
DASHBOARD = {f"admin: dashboard, {period}" for period in ("hour", "day", "week")}
READ_MORE_OF_MANY_DELIVERIES = {
    # Dead letters, of which so few are sorted for each reason; make bench-admin has 50,000.
    *DASHBOARD,
    # So few are sorted rather than read in order; make bench-admin has them among millions.
    "admin: deliveries of a busy subscriber",
    "admin: events of a frequent type",
    # No index has the type beside the endpoint: it reads on until a page is full.
    "portal, a busy subscriber: deliveries of a rare type",
}
READ_MORE_OF_MANY_SUBSCRIBERS = {
    # It counts the endpoints.
    *DASHBOARD,
    # Of those that share the deliveries the busiest has less: it is looked for longer, or sorted.
    "API: deliveries of a busy endpoint",
    "API, a busy subscriber's key: own events",
}


@pytest.fixture
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """As small, beside these tables, as the real ones are beside millions of rows."""
    monkeypatch.setattr(AngariumAdmin, "list_per_page", 5)
    monkeypatch.setattr(pages, "ROWS_COUNTED", 50)
    monkeypatch.setattr(traffic, "READ", 100)
    monkeypatch.setattr(dead_letters, "SEARCHED", 20)
    monkeypatch.setattr(visibility, "FEW", 250)
    monkeypatch.setattr(endpoint_health, "DELIVERIES_READ", 100)
    monkeypatch.setattr(status, "EXACT", 500)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("bounds", "queue")
def test_no_list_reads_more_as_the_deliveries_grow_and_all_that_belongs_to_them() -> None:
    few, many = among(SMALL, DENSE), among(LARGE, DENSE)
    assert least_growth(few, many, Event, Delivery, Attempt, DeadLetter, HistoryEntry) > A_BIT
    assert reading_more(few, many) - READ_MORE_OF_MANY_DELIVERIES == set()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("bounds", "queue")
def test_no_list_reads_more_as_the_subscribers_grow_and_their_endpoints() -> None:
    few, many = among(SMALL, DENSE), among(SMALL, CROWDED)
    assert least_growth(few, many, Subscriber, Endpoint) > A_BIT
    assert reading_more(few, many) - READ_MORE_OF_MANY_SUBSCRIBERS == set()


@dataclass(frozen=True)
class Among:
    """What each page costs among so many rows of each table."""

    costs: dict[str, Cost]
    rows: dict[type[Model], int]


@cache
def among(deliveries: int, density: Density) -> Among:
    vacuum()  # or what is gone would be read too
    with transaction.atomic(), connection.cursor() as cursor:
        seeded = seed(deliveries, density=density)
        cursor.execute("ANALYZE")
        # Tables of this size are quickly read as a whole; those that count are not.
        cursor.execute("SET LOCAL enable_seqscan = off")
        costs = {
            f"{who}: {page.name}": cost(client, page) for who, client, page in everything(seeded)
        }
        tables = (Event, Delivery, Attempt, DeadLetter, HistoryEntry, Subscriber, Endpoint)
        rows = {table: table._default_manager.count() for table in tables}
        transaction.set_rollback(True)
    vacuum()  # what was counted is not rolled back, and other tests ask for it
    return Among(costs, rows)


def least_growth(few: Among, many: Among, *tables: type[Model]) -> int:
    return min(many.rows[table] - few.rows[table] for table in tables)


def reading_more(few: Among, many: Among) -> set[str]:
    """The pages that read more among many, beyond what fills a page; none asks too often."""
    often = {name for name, taken in many.costs.items() if taken.queries > MOST_STATEMENTS}
    assert often == set()
    return {
        name
        for name, taken in many.costs.items()
        if taken.rows > 1.5 * few.costs[name].rows + A_BIT
    }


def test_the_bench_names_each_page_that_takes_longer_than_its_limit() -> None:
    measured = [Measured("quick", 1, 1, 9.9), Measured("slow", 1, 1, 10.1)]
    assert [one.page for one in slower(measured, 10)] == ["slow"]
