"""An egress proxy on loopback, of the kind that opens tunnels (RFC 9110 9.3.6)."""

import asyncio
import ssl
from contextlib import closing, suppress
from threading import Event, Thread
from types import TracebackType
from typing import Self

NAMES = {"tunnelled.example": "127.0.0.1"}
"""What the proxy finds, and nobody else."""


class ConnectProxy:
    """Serves from a thread of its own. With `credentials` it asks for Basic authorization."""

    def __init__(self, *, credentials: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.heads: list[str] = []
        """Of each connection that was made: the request that opens the tunnel."""
        self.certificates: list[object] = []
        """Of each connection: what the client showed the proxy."""
        self.carried = bytearray()
        """What the clients sent through their tunnels."""
        self.port = 0
        self._credentials = credentials
        self._tls = tls
        self._ready = Event()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = Thread(target=self._loop.run_until_complete, args=(self._run(),))

    def url(self, user: str = "", *, host: str = "127.0.0.1") -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://{user}{'@' if user else ''}{host}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    async def _run(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()
        tunnels = asyncio.all_tasks() - {asyncio.current_task()}
        for tunnel in tunnels:
            tunnel.cancel()
        await asyncio.gather(*tunnels, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        with closing(answer), suppress(OSError, asyncio.IncompleteReadError):
            head = (await client.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.heads.append(head)
            self.certificates.append(answer.get_extra_info("peercert"))
            method, place, _ = head.split(" ", 2)
            host, _, port = place.rpartition(":")
            if method != "CONNECT":
                answer.write(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n")
            elif f"Proxy-Authorization: {self._credentials}\r\n" not in head and self._credentials:
                answer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            else:
                try:
                    there = await asyncio.open_connection(NAMES[host], int(port))
                except (KeyError, OSError):
                    answer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
                else:
                    await self._carry(client, answer, *there)
            await answer.drain()

    async def _carry(
        self,
        client: asyncio.StreamReader,
        answer: asyncio.StreamWriter,
        endpoint: asyncio.StreamReader,
        onwards: asyncio.StreamWriter,
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

    async def _copy(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, copy: bytearray
    ) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                copy += data
                sink.write(data)
                await sink.drain()
