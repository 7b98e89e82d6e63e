"""Delete what is over a share at a time, beside others that do the same."""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet


def drop_some(rows: QuerySet[Any], limit: int) -> int:
    """Delete the first `limit` of the rows that nobody has locked. Returns how many."""
    with transaction.atomic():
        ids = rows.select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit]
        dropped: int = rows.model._default_manager.filter(pk__in=list(ids)).delete()[0]
    return dropped
