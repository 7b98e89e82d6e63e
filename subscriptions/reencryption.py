"""Stored secrets come under the newest encryption key, a few rows at a time."""

from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet

from subscriptions import encryption
from subscriptions.history import HistoryEntry


def reencrypt(
    rows: QuerySet[Any],
    column: str,
    *,
    kind: HistoryEntry.Kind,
    after: str | None,
    limit: int,
) -> list[str]:
    """Bring a column of the next few rows, in order of their ids, under the newest key.

    Returns their ids. The history has one entry for them all, of this kind. Raises
    encryption.NotDecryptable, with none of them changed.
    """
    with transaction.atomic():
        chunk = rows.order_by("pk").select_for_update(no_key=True)
        if after is not None:
            chunk = chunk.filter(pk__gt=after)
        chosen = list(chunk[:limit])
        for row in chosen:
            setattr(row, column, encryption.reencrypt(getattr(row, column)))
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL angarium.reencrypting = 'on'")
            rows.model._default_manager.bulk_update(chosen, [column])
            cursor.execute("SET LOCAL angarium.reencrypting = 'off'")
        if chosen:
            HistoryEntry.objects.create(
                action=HistoryEntry.Action.REENCRYPTED, kind=kind, count=len(chosen)
            )
    return [row.pk for row in chosen]
