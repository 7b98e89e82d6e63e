"""A server on loopback that treats each connection as it is told to, however badly."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Request:
    """What came in, byte for byte; the names of its headers are in lower case."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name)


@dataclass
class Peer:
    """The receiver's end of one connection."""

    sock: socket.socket
    number: int
    """Counts the receiver's connections from 1."""
    over: threading.Event
    requests: list[Request]
    _buffer: bytearray = field(default_factory=bytearray)

    def read_request(self) -> Request:
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = [
            (name.lower(), value.strip())
            for name, _, value in (field.partition(":") for field in fields)
        ]
        length = int(dict(headers).get("content-length", "0"))
        self._buffer[:] = rest
        while len(self._buffer) < length:
            self._receive()
        request = Request(line, headers, bytes(self._buffer[:length]))
        del self._buffer[:length]
        self.requests.append(request)
        return request

    def say(self, data: bytes) -> None:
        self.sock.sendall(data)

    def drip(self, data: Iterable[int], pause: float = 0.05) -> None:
        """Send byte by byte, always in time for a client that only times each read."""
        for byte in data:
            self.say(bytes([byte]))
            if self.over.wait(pause):
                return

    def wait(self) -> None:
        """Say nothing and keep the connection open until the test is over."""
        self.over.wait()

    def wait_for_close(self) -> None:
        with suppress(ConnectionError):
            while self.sock.recv(65_536):
                pass

    def _receive(self) -> None:
        data = self.sock.recv(65_536)
        if not data:
            raise ConnectionError("the client has closed the connection")
        self._buffer += data


Behaviour = Callable[[Peer], None]


class HostileReceiver:
    """Runs a behaviour, in a thread, for each connection that is made to it."""

    def __init__(
        self, behaviour: Behaviour, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        self.requests: list[Request] = []
        self._behaviour = behaviour
        self._tls = tls
        self._over = threading.Event()
        self._accepted = threading.Semaphore(0)
        self._connections = 0
        self._socks: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((host, 0))
        self.host, self.port = self._listener.getsockname()[:2]

    def url(self, path: str = "/hook", *, host: str | None = None) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://{host or self.host}:{self.port}{path}"

    def connections(self) -> int:
        """How many have connected: accepted in order, so all before the one made here count."""
        before = self._connections
        with socket.create_connection((self.host, self.port)):
            while self._connections <= before:
                self._accepted.acquire()
            self._connections -= 1
            return self._connections

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._socks:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._connections += 1
                self._serve(sock, self._connections)

    def _serve(self, sock: socket.socket, number: int) -> None:
        self._socks.append(sock)

        def serve() -> None:
            with suppress(OSError), sock:
                served = self._tls.wrap_socket(sock, server_side=True) if self._tls else sock
                with served:
                    self._behaviour(Peer(served, number, self._over, self.requests))

        self._start(serve)
