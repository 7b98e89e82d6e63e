"""A pytest plugin: a real PostgreSQL and a real Valkey, there before Django reads its settings.

Where pytest-xdist runs the tests in several processes, each process has servers of its own.
"""

import os
from contextlib import ExitStack

import psycopg
import pytest
from cryptography.fernet import Fernet

from config.embedded import servers

running = ExitStack()

STARTED_HERE = "SERVERS_STARTED_FOR_TESTS"
"""Names the variables that xdist's processes inherit and must not share."""

ENVIRONMENT = {
    "DEBUG": "0",
    "BEHIND_TLS": "0",
    "SECRET_KEY": "only-for-the-tests-" + "x" * 40,
    "ALLOWED_HOSTS": "testserver,127.0.0.1",
    "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "ANGARIUM_ALLOW_HTTP": "1",
    "ANGARIUM_ALLOWED_NETWORKS": "127.0.0.0/8",
}


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(args: list[str]) -> None:
    for name in os.environ.get(STARTED_HERE, "").split():
        del os.environ[name]
    os.environ.update(ENVIRONMENT)
    started = {
        name: address
        for name, address in running.enter_context(servers()).items()
        if name not in os.environ
    }
    os.environ.update(started)
    os.environ[STARTED_HERE] = " ".join(started)
    if "DATABASE_URL" in started and "--long" not in args:
        stop_autovacuum()


def stop_autovacuum() -> None:
    """Or it would hold up the emptying of the tables, which is done after hundreds of tests.

    PostgreSQL has it give way only once somebody has waited for `deadlock_timeout`.
    """
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as postgresql:
        postgresql.execute("ALTER SYSTEM SET autovacuum = off")
        postgresql.execute("SELECT pg_reload_conf()")


def pytest_unconfigure() -> None:
    running.close()
