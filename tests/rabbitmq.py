"""A RabbitMQ node of a test's own, on loopback, with its own directory and its own epmd."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from config.embedded import free_port
from tests.processes import wait_until
from tests.webhooks.sending.certificates import Authority

PLACES = f"/usr/lib/rabbitmq/bin:{os.environ['PATH']}:/usr/sbin"
"""Debian's rabbitmq-server in sbin is a wrapper that changes to another user and its directory."""


CONFIGURATION = """\
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {authority}
ssl_options.certfile = {directory}/own.pem
ssl_options.keyfile = {directory}/own.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
"""


class Node(NamedTuple):
    """Its ports; over TLS it shows a certificate for localhost, and asks for one."""

    port: int
    tls_port: int


@contextmanager
def rabbitmq(authority: Authority) -> Iterator[Node]:
    """A node that has started; skips where RabbitMQ is missing."""
    server, epmd = shutil.which("rabbitmq-server", path=PLACES), shutil.which("epmd")
    if server is None or epmd is None:
        pytest.skip("no rabbitmq-server is installed")
    with ExitStack() as stack:
        directory = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="angarium-", ignore_cleanup_errors=True)
            )
        )
        port, tls_port, names = free_port(), free_port(), free_port()
        log = directory / "log"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(names),
            "RABBITMQ_NODENAME": f"angarium{port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_MNESIA_BASE": str(directory / "data"),
            "RABBITMQ_LOG_BASE": str(directory / "logs"),
            "RABBITMQ_PID_FILE": str(directory / "pid"),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
        }
        authority.write_certificate("localhost", directory)
        (directory / "rabbitmq.conf").write_text(
            CONFIGURATION.format(port=tls_port, authority=authority.bundle, directory=directory)
        )
        (directory / "plugins").write_text("[].\n")
        stack.enter_context(_process(log, environment, epmd, "-port", str(names)))
        node = stack.enter_context(_process(log, environment, server))
        wait_until(lambda: _greets(port) or node.poll() is not None, f"RabbitMQ, see {log}")
        assert node.poll() is None, log.read_text(errors="replace")[-4000:]
        yield Node(port, tls_port)


@contextmanager
def _process(
    log: Path, environment: dict[str, str], *command: str
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        # There is nothing to save.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _greets(port: int) -> bool:
    """Whether it answers a wrong protocol header with the right one (AMQP 0-9-1, section 4.2.2)."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as node:
        node.sendall(b"AMQP\x00\x00\x00\x00")
        return node.recv(8) == b"AMQP\x00\x00\x09\x01"
    return False
