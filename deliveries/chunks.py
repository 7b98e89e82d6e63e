"""How sweeps take rows: a chunk in each transaction, and a bounded share of them in one run."""

from collections.abc import Callable
from typing import Any

from django.db import connection

from deliveries.conf import DeliverySettings
from subscriptions.conf import part


def in_chunks(take: Callable[[int], int], at_most: int | None = None) -> int:
    """Call `take(limit)` until it finds less than it may, or the run has done its share."""
    settings = part(DeliverySettings)
    share = settings.sweep_chunk * settings.sweep_chunks
    left = share if at_most is None else min(share, at_most)
    taken = 0
    while left > 0:
        limit = min(settings.sweep_chunk, left)
        found = take(limit)
        taken += found
        left -= found
        if found < limit:
            break
    return taken


def rows(statement: str, limit: int, **parameters: Any) -> list[tuple[Any, ...]]:
    """The rows that a statement with a %(limit)s finds."""
    with connection.cursor() as cursor:
        cursor.execute(statement, {"limit": limit, **parameters})
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
