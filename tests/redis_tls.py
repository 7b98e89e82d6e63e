"""A Redis over TLS: Valkey's wheel has none, so that it ends before it, as with stunnel."""

import asyncio
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from config.embedded import valkey
from tests.webhooks.sending.certificates import Authority

HANDSHAKE = b"\x16"
"""The first byte of a client that speaks TLS (RFC 8446, 5.1)."""


@contextmanager
def redis_over_tls(authority: Authority) -> Iterator[str]:
    """A Redis that shows a certificate for localhost, and asks for one; its URL but the options."""
    context = authority.server_context("localhost", asks=ssl.CERT_REQUIRED)
    with valkey() as plain, tls_before(urlsplit(plain).port or 0, context) as port:
        yield f"rediss://localhost:{port}/0"


def own_certificate(authority: Authority) -> str:
    """The options of a URL for a client's own certificate."""
    directory = Path(tempfile.mkdtemp(dir=authority.bundle.parent))
    authority.write_certificate("worker", directory)
    return f"ssl_certfile={directory / 'own.pem'}&ssl_keyfile={directory / 'own.key'}"


@contextmanager
def tls_before(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """A port of 127.0.0.1 that speaks TLS to who does, and hands on to `port` what comes."""
    end = _End(port, context)
    thread = threading.Thread(target=asyncio.run, args=(end.serve(),), daemon=True)
    thread.start()
    end.serving.wait(5)
    try:
        yield end.port
    finally:
        end.loop.call_soon_threadsafe(end.over.set)
        thread.join(5)


class _End:
    def __init__(self, destination: int, context: ssl.SSLContext) -> None:
        self.destination = destination
        self.context = context
        self.serving = threading.Event()

    async def serve(self) -> None:
        self.loop, self.over = asyncio.get_running_loop(), asyncio.Event()
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            self.port: int = server.getsockname()[1]
            self.serving.set()
            accepting = asyncio.create_task(self.accept(server))
            await self.over.wait()
            accepting.cancel()

    async def accept(self, server: socket.socket) -> None:
        forwarding = set()
        while True:
            peer, _ = await self.loop.sock_accept(server)
            forwarding.add(asyncio.create_task(self.forward(peer)))

    async def forward(self, peer: socket.socket) -> None:
        with suppress(OSError):
            peer.setblocking(True)
            first = await asyncio.to_thread(peer.recv, 1, socket.MSG_PEEK)
            reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(reader)
            transport, _ = await self.loop.connect_accepted_socket(
                lambda: protocol, peer, ssl=self.context if first == HANDSHAKE else None
            )
            writer = asyncio.StreamWriter(transport, protocol, reader, self.loop)
            there = await asyncio.open_connection("127.0.0.1", self.destination)
            await asyncio.gather(_forward(reader, there[1]), _forward(there[0], writer))


async def _forward(source: asyncio.StreamReader, destination: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            destination.write(data)
            await destination.drain()
    with suppress(OSError):
        destination.close()
