"""Databases for one run of the demo, on a server that may have others: nobody's data is touched."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from secrets import token_hex
from urllib.parse import urlsplit

import psycopg
from psycopg import sql


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """Make a database on the server of a PostgreSQL URL, give its URL, and drop it at the end."""
    name = f"angarium_demo_{token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield urlsplit(server)._replace(path=f"/{name}").geturl()
        finally:
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            with suppress(psycopg.OperationalError):  # the server has gone, and its data with it
                connection.execute(drop)
