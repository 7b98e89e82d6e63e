"""The way to a server, for a test to cut."""

import socket
from contextlib import suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

from config.embedded import free_port


class Road:
    """Forwards a port of its own to a server, until it is cut: then it refuses, as if none were."""

    def __init__(self, host: str, port: int) -> None:
        self.destination = (host, port)
        self.port = free_port()
        self.open()

    def open(self) -> None:
        road = self
        self.travellers: list[socket.socket] = []

        class Forwarder(BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError), socket.create_connection(road.destination) as server:
                    road.travellers += [self.request, server]
                    for way in (self.request, server):
                        # Or what comes in two parts waits 40 ms in between.
                        way.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    back = Thread(target=forward, args=(server, self.request), daemon=True)
                    back.start()
                    forward(self.request, server)
                    back.join()

        class Server(ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = False
            request_queue_size = 128

        self.server = Server(("127.0.0.1", self.port), Forwarder)
        Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def refuse(self) -> None:
        """Refuse what comes, and let what is under way be."""
        self.server.shutdown()
        self.server.server_close()

    def cut(self) -> None:
        """Break what is under way, and refuse what comes."""
        self.refuse()
        for one in self.travellers:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def forward(source: socket.socket, destination: socket.socket) -> None:
    """Pass on what comes, to its end."""
    with suppress(OSError):
        while data := source.recv(65536):
            destination.sendall(data)
    with suppress(OSError):
        destination.shutdown(socket.SHUT_WR)
