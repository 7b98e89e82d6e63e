"""A server on loopback that treats each connection as it is told to, however badly."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.webhooks.sending.stream_server import AnyReader, AnyWriter, StreamServer


@dataclass(frozen=True)
class Request:
    """What came in, byte for byte; the names of its headers are in lower case."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name)

    @property
    def path(self) -> str:
        return self.line.split(" ")[1]


class Reader:
    """What the client says on one connection."""

    def __init__(self, stream: AnyReader, requests: list[Request]) -> None:
        self._stream = stream
        self._requests = requests

    async def request(self) -> Request:
        """Read one to its end, and keep it for the test."""
        head = (await self._stream.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.removesuffix("\r\n\r\n").split("\r\n")
        headers = [
            (name.lower(), value.strip())
            for name, _, value in (field.partition(":") for field in fields)
        ]
        length = int(dict(headers).get("content-length", "0"))
        request = Request(line, headers, await self._stream.readexactly(length))
        self._requests.append(request)
        return request

    async def bytes(self, count: int) -> bytes:
        return await self._stream.readexactly(count)


class Writer:
    """The receiver's way to speak to the client on one connection."""

    def __init__(self, stream: AnyWriter, number: int) -> None:
        self.number = number
        """Counts the receiver's connections from 1."""
        self.said = 0
        """How many bytes the client's end has taken."""
        self._stream = stream

    @property
    def peer_certificate(self) -> dict[str, Any]:
        """What the client showed of itself in the TLS handshake; empty if nothing."""
        return self._stream.get_extra_info("peercert") or {}

    async def say(self, data: bytes) -> None:
        self._stream.write(data)
        await self._stream.drain()
        self.said += len(data)
        # A client that takes all at once would keep every other connection waiting.
        await asyncio.sleep(0)

    async def drip(self, data: Iterable[int], pause: float = 0.05) -> None:
        """Send byte by byte, always in time for a client that only times each read."""
        for byte in data:
            await self.say(bytes([byte]))
            await asyncio.sleep(pause)

    def reset(self) -> None:
        """Break the connection off, as a host that crashed does."""
        sock = self._stream.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._stream.transport.abort()


Behaviour = Callable[[Reader, Writer], Awaitable[object]]


class HostileReceiver(StreamServer):
    """Runs a behaviour for each connection that is made to it, and closes it without a farewell."""

    def __init__(
        self, behaviour: Behaviour, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(host=host, tls=tls)
        self.requests: list[Request] = []
        self.writers: list[Writer] = []
        """One for each connection, once its TLS handshake is over."""
        self._behaviour = behaviour

    def url(self, path: str = "/hook", *, host: str | None = None, scheme: str = "") -> str:
        return f"{scheme or self.scheme}://{host or self.host}:{self.port}{path}"

    async def serve(self, reader: AnyReader, writer: AnyWriter) -> None:
        self.writers.append(Writer(writer, len(self.writers) + 1))
        await self._behaviour(Reader(reader, self.requests), self.writers[-1])


@contextmanager
def deaf_address(host: str, port: int = 0) -> Iterator[int]:
    """A port on which connections are neither accepted nor refused: its queue is full."""
    with socket.create_server((host, port), backlog=0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address):
            yield address[1]
