"""No list of the admin or the API reads more as the tables grow, whatever it is filtered by."""

from collections.abc import Collection

import pytest
from django.db import connection, transaction

from deliveries.admin import dead_letters
from deliveries.api import visibility
from deliveries.dashboard import traffic
from subscriptions.admin import pages
from subscriptions.admin.base import AngariumAdmin
from tests.bench.lists import Cost, cost, everything
from tests.seeding import seed

SMALL, LARGE = 4_000, 20_000
MOST_STATEMENTS = 16
A_BIT = 3_000
"""Rows that are no more than a twentieth of all rows in the larger tables."""


@pytest.fixture
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """As small, beside these tables, as the real ones are beside millions of rows."""
    monkeypatch.setattr(AngariumAdmin, "list_per_page", 5)
    monkeypatch.setattr(pages, "ROWS_COUNTED", 50)
    monkeypatch.setattr(traffic, "READ", 100)
    monkeypatch.setattr(dead_letters, "SEARCHED", 20)
    monkeypatch.setattr(visibility, "FEW", 250)


@pytest.mark.django_db
@pytest.mark.usefixtures("bounds", "queue")
def test_no_list_reads_more_as_the_tables_grow() -> None:
    large = costs_among(LARGE)
    assert {name: taken for name, taken in large.items() if taken.queries > MOST_STATEMENTS} == {}
    much = {name: taken.rows for name, taken in large.items() if taken.rows > A_BIT}
    small = costs_among(SMALL, much)
    assert {name: rows for name, rows in much.items() if rows > 1.5 * small[name].rows} == {}


def costs_among(deliveries: int, names: Collection[str] = ()) -> dict[str, Cost]:
    """What each page costs, or those with these names."""
    with transaction.atomic(), connection.cursor() as cursor:
        seeded = seed(deliveries)
        cursor.execute("ANALYZE")
        # Tables of this size are quickly read as a whole; those that count are not.
        cursor.execute("SET LOCAL enable_seqscan = off")
        found = {
            name: cost(client, page)
            for who, client, page in everything(seeded)
            if (name := f"{who}: {page.name}") in names or not names
        }
        transaction.set_rollback(True)
    with connection.cursor() as cursor:
        # What it counted is not rolled back, and other tests ask for it.
        cursor.execute("ANALYZE")
    return found
