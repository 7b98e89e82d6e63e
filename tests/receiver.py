"""An endpoint for the tests: a real HTTP server that notes what it gets and answers as told."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """One request, as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes
    status: int | None = None
    """What it was answered with, once it was."""
    at: float = field(default_factory=time.monotonic)
    """When it came."""

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass
class Answer:
    """What the receiver says to a request."""

    status: int = 200
    body: bytes = b"ok"
    headers: dict[str, str] = field(default_factory=dict)


def most_in(seconds: float, times: list[float]) -> int:
    """How many came within the busiest span of so many seconds; the times are in order."""
    most, first = 0, 0
    for last, when in enumerate(times):
        while when >= times[first] + seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


class Receiver:
    """Listens on 127.0.0.1; `answers` has what a path says to a request and its number, from 1."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[Received, int], Answer]] = {}
        self.received: list[Received] = []
        self.arrived = threading.Condition()
        self.counts: dict[tuple[str, str], int] = defaultdict(int)
        self.under_way: Counter[str] = Counter()
        """How many requests each path has got and not answered yet."""
        self.most_under_way: Counter[str] = Counter()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Or an answer's body waits 40 ms, until its head is acknowledged.
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = receiver.take(Received(self.path, headers, body))
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128

            def handle_error(self, *_: Any) -> None:
                pass  # a worker that is killed leaves its connection behind

        self.server = Server(("127.0.0.1", 0), Handler)

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.server.server_port}{path}"

    def take(self, request: Received) -> Answer:
        with self.arrived:
            self.received.append(request)
            self.counts[request.path, request.id] += 1
            number = self.counts[request.path, request.id]
            self.under_way[request.path] += 1
            self.most_under_way[request.path] = max(
                self.most_under_way[request.path], self.under_way[request.path]
            )
            self.arrived.notify_all()
        decide = self.answers.get(request.path)
        answer = Answer() if decide is None else decide(request, number)
        with self.arrived:
            self.under_way[request.path] -= 1
            request.status = answer.status
        return answer

    def wait_for(
        self, count: int, *, path: str | None = None, patience: float = 60
    ) -> list[Received]:
        """The requests there are (to a path), once they are at least so many."""

        def enough() -> list[Received] | None:
            found = [one for one in self.received if path in (None, one.path)]
            return found if len(found) >= count else None

        with self.arrived:
            found = self.arrived.wait_for(enough, patience)
            if not found and count:
                raise AssertionError(f"{len(self.received)} of {count} requests after {patience} s")
            return list(found or [])


@contextmanager
def running_receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()
