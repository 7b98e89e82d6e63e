"""No list of the admin or the API reads more as the tables grow, whatever it is filtered by."""

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
from tests.bench.admin import Measured, slower
from tests.bench.lists import Cost, cost, everything
from tests.seeding import Density, seed

SMALL, LARGE = 4_000, 20_000
DENSE = Density(failing=5, history=4)
"""So that a scan of dead letters or of the history shows as one of deliveries does."""
MOST_STATEMENTS = 20
A_BIT = 800
"""Rows that a page may read more, as until it is full. Fewer than any table grows by."""
GROWING = {
    # It has bounds of its own, which these tables do not come near.
    *(f"admin: dashboard, {period}" for period in ("hour", "day", "week")),
    # So few are sorted rather than read in order; make bench-admin has them among millions.
    "admin: deliveries of a busy subscriber",
    "admin: events of a frequent type",
    # No index has the state, or the type, beside the endpoint: it reads on until a page is full.
    *(f"portal, {who} subscriber: deliveries, waiting" for who in ("a busy", "a quiet")),
    "portal, a busy subscriber: deliveries of a rare type",
}
"""What reads more as these tables grow, and why."""
TABLES = (Event, Delivery, Attempt, DeadLetter, HistoryEntry)


@pytest.fixture
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """As small, beside these tables, as the real ones are beside millions of rows."""
    monkeypatch.setattr(AngariumAdmin, "list_per_page", 5)
    monkeypatch.setattr(pages, "ROWS_COUNTED", 50)
    monkeypatch.setattr(traffic, "READ", 100)
    monkeypatch.setattr(dead_letters, "SEARCHED", 20)
    monkeypatch.setattr(visibility, "FEW", 250)
    monkeypatch.setattr(endpoint_health, "DELIVERIES_READ", 100)
    monkeypatch.setattr(status, "EXACT", 50)


@pytest.mark.django_db
@pytest.mark.usefixtures("bounds", "queue")
def test_no_list_reads_more_as_the_tables_grow() -> None:
    small, fewer = costs_among(SMALL)
    large, more = costs_among(LARGE)
    assert min(more[table] - fewer[table] for table in TABLES) > A_BIT
    assert {name: taken for name, taken in large.items() if taken.queries > MOST_STATEMENTS} == {}
    much = {
        name: (small[name].rows, taken.rows)
        for name, taken in large.items()
        if taken.rows > 1.5 * small[name].rows + A_BIT
    }
    assert much.keys() - GROWING == set(), much


def costs_among(deliveries: int) -> tuple[dict[str, Cost], dict[type[Model], int]]:
    """What each page costs, and how many rows the tables have."""
    with transaction.atomic(), connection.cursor() as cursor:
        seeded = seed(deliveries, density=DENSE)
        cursor.execute("ANALYZE")
        # Tables of this size are quickly read as a whole; those that count are not.
        cursor.execute("SET LOCAL enable_seqscan = off")
        found = {
            f"{who}: {page.name}": cost(client, page) for who, client, page in everything(seeded)
        }
        rows = {table: table._default_manager.count() for table in TABLES}
        transaction.set_rollback(True)
    with connection.cursor() as cursor:
        # What it counted is not rolled back, and other tests ask for it.
        cursor.execute("ANALYZE")
    return found, rows


def test_the_bench_names_each_page_that_takes_longer_than_its_limit() -> None:
    measured = [Measured("quick", 1, 1, 9.9), Measured("slow", 1, 1, 10.1)]
    assert [one.page for one in slower(measured, 10)] == ["slow"]
