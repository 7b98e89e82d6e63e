"""An egress proxy on loopback, of the kind that opens tunnels (RFC 9110 9.3.6)."""

import asyncio
import ssl
from asyncio import StreamWriter
from contextlib import closing, suppress

from tests.webhooks.sending.stream_server import AnyReader, AnyWriter, StreamServer

NAMES = {"tunnelled.example": "127.0.0.1"}
"""What the proxy finds, and nobody else."""


class ConnectProxy(StreamServer):
    """With `credentials` it asks for Basic authorization."""

    def __init__(self, *, credentials: str = "", tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls=tls)
        self.heads: list[str] = []
        """Of each connection that was made: the request that opens the tunnel."""
        self.certificates: list[object] = []
        """Of each connection: what the client showed the proxy."""
        self.carried = bytearray()
        """What the clients sent through their tunnels."""
        self._credentials = credentials

    def url(self, user: str = "", *, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{user}{'@' if user else ''}{host}:{self.port}"

    async def serve(self, reader: AnyReader, writer: AnyWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.heads.append(head)
        self.certificates.append(writer.get_extra_info("peercert"))
        method, place, _ = head.split(" ", 2)
        host, _, port = place.rpartition(":")
        if method != "CONNECT":
            writer.write(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n")
        elif f"Proxy-Authorization: {self._credentials}\r\n" not in head and self._credentials:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        else:
            try:
                there = await asyncio.open_connection(NAMES[host], int(port))
            except (KeyError, OSError):
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            else:
                await self._carry(reader, writer, *there)
        await writer.drain()

    async def _carry(
        self,
        client: AnyReader,
        answer: AnyWriter,
        endpoint: AnyReader,
        onwards: StreamWriter,
    ) -> None:
        with closing(onwards):
            answer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            ways = [
                asyncio.create_task(self._copy(client, onwards, self.carried)),
                asyncio.create_task(self._copy(endpoint, answer, bytearray())),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()

    async def _copy(self, source: AnyReader, sink: AnyWriter, copy: bytearray) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                copy += data
                sink.write(data)
                await sink.drain()
