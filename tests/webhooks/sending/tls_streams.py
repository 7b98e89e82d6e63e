"""A server's TLS over asyncio streams, which tells the client why a handshake failed.

asyncio's own closes the connection before the alert has left (RFC 8446 6.2).
"""

import asyncio
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class TLSStreams:
    """The reader and the writer of a connection in one, with the names that theirs have."""

    def __init__(self, tls: ssl.SSLContext, reader: StreamReader, writer: StreamWriter) -> None:
        self.transport = writer.transport
        self._reader = reader
        self._writer = writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._buffer = bytearray()

    async def handshake(self) -> None:
        await self._carry_out(self._tls.do_handshake)

    def get_extra_info(self, name: str) -> Any:
        return self._tls.getpeercert() if name == "peercert" else self._writer.get_extra_info(name)

    async def read(self, count: int) -> bytes:
        return self._take(count) if self._buffer or await self._receive() else b""

    async def readexactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not await self._receive():
                raise asyncio.IncompleteReadError(bytes(self._buffer), count)
        return self._take(count)

    async def readuntil(self, separator: bytes) -> bytes:
        while separator not in self._buffer:
            if not await self._receive():
                raise asyncio.IncompleteReadError(bytes(self._buffer), None)
        return self._take(self._buffer.index(separator) + len(separator))

    def write(self, data: bytes) -> None:
        if data:
            self._tls.write(data)
            self._writer.write(self._outgoing.read())

    async def drain(self) -> None:
        await self._writer.drain()

    async def _receive(self) -> bool:
        data = await self._carry_out(lambda: self._tls.read(65_536))
        self._buffer += data
        return bool(data)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def _carry_out(self, operation: Callable[[], T]) -> T:
        while True:
            try:
                return operation()
            except ssl.SSLWantReadError:
                pass
            finally:
                self._writer.write(self._outgoing.read())
                await self._writer.drain()
            if data := await self._reader.read(65_536):
                self._incoming.write(data)
            else:
                self._incoming.write_eof()
