"""Servers of asyncio streams on loopback, each on an event loop in a thread of its own."""

import asyncio
import socket
import ssl
from abc import ABC, abstractmethod
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from threading import Condition, Event, Thread
from types import TracebackType
from typing import Any, Self

from tests.webhooks.sending.tls_streams import TLSStreams

AnyReader = StreamReader | TLSStreams
AnyWriter = StreamWriter | TLSStreams


class StreamServer(ABC):
    """Serves while it is entered; what is still under way when it is left is broken off."""

    def __init__(self, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.host, self.port = host, 0
        self._tls = tls
        self._clients: list[tuple[str, int]] = []
        self._accepted = Condition()
        self._faults: list[dict[str, Any]] = []
        self._ready = Event()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = Thread(target=self._loop.run_until_complete, args=(self._run(),))

    @property
    def scheme(self) -> str:
        return "https" if self._tls else "http"

    @abstractmethod
    async def serve(self, reader: AnyReader, writer: AnyWriter) -> None:
        """Serve one connection to its end. That the client has gone is no fault."""

    def connections(self) -> int:
        """How many have been made so far, TLS or not.

        They are accepted in order: once our own is in, all that came before it have been counted.
        """
        with socket.create_connection((self.host, self.port), timeout=10) as probe, self._accepted:
            ours = probe.getsockname()
            assert self._accepted.wait_for(lambda: ours in self._clients, timeout=10)
            self._clients.remove(ours)
            return len(self._clients)

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
        assert not self._faults, self._faults

    async def _run(self) -> None:
        self._loop.set_exception_handler(self._take_fault)
        server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        # Those that were aborted are closed by the next turn of the loop.
        await asyncio.sleep(0)

    def _take_fault(self, _: object, fault: dict[str, Any]) -> None:
        # A connection that is cancelled before it is served is told here too.
        if not isinstance(fault.get("exception"), asyncio.CancelledError):
            self._faults.append(fault)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            with suppress(OSError, EOFError, asyncio.CancelledError):
                with self._accepted:
                    self._clients.append(writer.get_extra_info("peername"))
                    self._accepted.notify_all()
                # Draining is to wait for all that was written, which an abort would lose.
                writer.transport.set_write_buffer_limits(0)
                if self._tls:
                    secure = TLSStreams(self._tls, reader, writer)
                    await secure.handshake()
                    await self.serve(secure, secure)
                else:
                    await self.serve(reader, writer)
        finally:
            writer.transport.abort()
