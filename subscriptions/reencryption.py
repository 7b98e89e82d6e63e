"""Stored secrets come under the newest encryption key, a few rows at a time."""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from subscriptions import encryption


def reencrypt(rows: QuerySet[Any], column: str, *, after: str | None, limit: int) -> list[str]:
    """Bring a column of the next few rows, in order of their ids, under the newest key.

    Returns their ids. Raises encryption.NotDecryptable, with none of them changed.
    """
    with transaction.atomic():
        chunk = rows.order_by("pk").select_for_update(no_key=True)
        if after is not None:
            chunk = chunk.filter(pk__gt=after)
        chosen = list(chunk[:limit])
        for row in chosen:
            setattr(row, column, encryption.reencrypt(getattr(row, column)))
        rows.model._default_manager.bulk_update(chosen, [column])
    return [row.pk for row in chosen]
