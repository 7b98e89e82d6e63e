"""Lists are read from a replica of the database, where DATABASES names one as `replica`.

A list never lacks what was committed before it was asked for, whoever wrote it: PostgreSQL is asked
how far its log goes, and the replica whether it has come so far. Where it has not, within PATIENCE,
or is away, or ends the query (as one does that holds up its replay for too long), the list is read
from PostgreSQL itself. Nothing that a write depends on is read here, and nothing in a transaction.
"""

import logging
import time
from collections.abc import Callable
from time import monotonic
from typing import Any, TypeVar

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connection, connections
from django.db.models import Model, QuerySet

from subscriptions.database_errors import without_values

ALIAS = "replica"

PATIENCE = 0.1
"""Seconds that a list waits for the replica to catch up."""
PAUSE = 0.005
"""Seconds between two looks at how far it has come."""
QUIET_FOR = 2.0
"""Seconds after it was too late, or away, in which it is not asked: lists should not all wait."""

logger = logging.getLogger(__name__)

Row = TypeVar("Row", bound=Model)
Found = TypeVar("Found")

_quiet_until = 0.0


def read(rows: QuerySet[Row, Any], look: Callable[[QuerySet[Row, Any]], Found]) -> Found:
    """What `look` finds when it evaluates `rows`, on the replica if that has everything."""
    if _may_be_asked():
        try:
            if _has_everything():
                return look(rows.using(ALIAS))
            _leave_alone("it is behind")
        except Error as error:
            connections[ALIAS].close()
            _leave_alone(without_values(error))
    return look(rows.using(DEFAULT_DB_ALIAS))


def _may_be_asked() -> bool:
    return (
        ALIAS in settings.DATABASES
        and monotonic() >= _quiet_until
        and not connection.in_atomic_block
    )


def _has_everything() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_flush_lsn()::text")
        [written] = cursor.fetchone()
    deadline = monotonic() + PATIENCE
    with connections[ALIAS].cursor() as cursor:
        # One that is a replica no longer has no such place, and nobody knows what it lacks.
        while not _has_come_to(written, cursor):
            if monotonic() > deadline:
                return False
            time.sleep(PAUSE)
    return True


def _has_come_to(written: str, cursor: Any) -> bool:
    cursor.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [written])
    return bool(cursor.fetchone()[0])


def _leave_alone(why: str) -> None:
    global _quiet_until
    _quiet_until = monotonic() + QUIET_FOR
    logger.warning("Lists are read from the primary for %g s: the replica: %s.", QUIET_FOR, why)
