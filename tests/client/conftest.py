"""The client against a real web server, over HTTP."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from angarium_client import Angarium
from deliveries.models import DeadLetter, Delivery
from subscriptions.models import ApiKey


@pytest.fixture
def key(transactional_db: None) -> str:
    _, key = ApiKey.objects.create_key(name="the client")
    return str(key)


@pytest.fixture
def client(live_server: LiveServer, key: str) -> Iterator[Angarium]:
    with Angarium(live_server.url, key) as client:
        yield client


def bury(delivery: Delivery, last_error: str = "") -> DeadLetter:
    """Let a delivery have been given up."""
    now = timezone.now()
    Delivery.objects.filter(pk=delivery.pk).update(state="dead", ended_at=now)
    letter = DeadLetter.objects.create(
        delivery=delivery, reason="gone", last_error=last_error, died_at=now
    )
    letter.refresh_from_db()
    return letter


@dataclass
class Asked:
    """A request, as it came in."""

    path: str
    headers: dict[str, str]


class Web:
    """Something in the place of Angarium, which gives its `answers` (status, body) one by one."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.location = ""
        self.promised = 0  # so many bytes of a body, where that is not its length
        self.requests: list[Asked] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                web.requests.append(Asked(self.path, headers))
                status, body = web.answers.pop(0)
                self.send_response(status)
                if web.location:
                    self.send_header("location", web.location)
                self.send_header("content-length", str(web.promised or len(body)))
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = bool(web.promised)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web()
    thread = threading.Thread(target=web.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        web.server.shutdown()
        web.server.server_close()
        thread.join()
