"""A server on loopback that treats each connection as it is told to, however badly."""

import socket
import ssl
import struct
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

    @property
    def path(self) -> str:
        return self.line.split(" ")[1]


@dataclass
class Peer:
    """The receiver's end of one connection."""

    sock: socket.socket
    number: int
    """Counts the receiver's connections from 1."""
    over: threading.Event
    requests: list[Request]
    said: int = 0
    """How many bytes the client's end has taken."""
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
        self.said += len(data)

    def drip(self, data: Iterable[int], pause: float = 0.05) -> None:
        """Send byte by byte, always in time for a client that only times each read."""
        for byte in data:
            self.say(bytes([byte]))
            if self.over.wait(pause):
                return

    def reset(self) -> None:
        """Break the connection off, as a host that crashed does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def wait(self) -> None:
        """Say nothing and keep the connection open until the test is over."""
        self.over.wait()

    def _receive(self) -> None:
        data = self.sock.recv(65_536)
        if not data:
            raise ConnectionError("the client has closed the connection")
        self._buffer += data


Behaviour = Callable[[Peer], object]


class HostileReceiver:
    """Runs a behaviour, in a thread, for each connection that is made to it."""

    def __init__(
        self, behaviour: Behaviour, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        self.requests: list[Request] = []
        self.peers: list[Peer] = []
        self._behaviour = behaviour
        self._tls = tls
        self._over = threading.Event()
        self._clients: list[tuple[str, int]] = []
        self._accepted = threading.Condition()
        self._socks: list[socket.socket] = []
        self._listener = socket.create_server((host, 0))
        self._acceptor = threading.Thread(target=self._accept)
        self._servers: list[threading.Thread] = []
        self.host, self.port = self._listener.getsockname()

    def url(self, path: str = "/hook", *, host: str | None = None) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://{host or self.host}:{self.port}{path}"

    def connections(self) -> int:
        """How many have been made so far.

        They are accepted in order: once our own is in, all that came before it have been counted.
        """
        with socket.create_connection((self.host, self.port), timeout=10) as probe, self._accepted:
            ours = probe.getsockname()
            assert self._accepted.wait_for(lambda: ours in self._clients, timeout=10)
            self._clients.remove(ours)
            return len(self._clients)

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        for sock in self._socks:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._servers:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, client = self._listener.accept()
                with self._accepted:
                    self._clients.append(client)
                    number = len(self._clients)
                    self._accepted.notify_all()
                sock.settimeout(30)
                self._socks.append(sock)
                self._servers.append(threading.Thread(target=self._serve, args=(sock, number)))
                self._servers[-1].start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        with suppress(OSError), sock:
            if self._tls:
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._socks.append(sock)
            with sock:
                self.peers.append(Peer(sock, number, self._over, self.requests))
                self._behaviour(self.peers[-1])
