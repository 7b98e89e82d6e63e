"""What only a real server can show: requests at the same time, and lengths that lie."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection

import pytest
from django.conf import LazySettings
from django.db import connection
from django.urls import path
from pytest_django.live_server_helper import LiveServer

from tests.processes import wait_until
from webhooks import signing
from webhooks.keys import generate_secret
from webhooks.receiving.messages import Message
from webhooks.receiving.models import ReceivedMessage
from webhooks.receiving.views import webhook

SECRET = generate_secret()
BODY = json.dumps(
    {"type": "invoice.paid", "timestamp": "2026-07-01T12:00:00Z", "data": {"amount": 100}}
).encode()
MAX_BYTES = 10_000


class Inbox:
    """A handler that waits for leave to end, and fails as often as it is told."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.failures = 0
        self.entered, self.leave = threading.Event(), threading.Event()

    def handle(self, message: Message) -> None:
        self.messages.append(message)
        self.entered.set()
        assert self.leave.wait(30)
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the handler's own trouble")


@pytest.fixture
def inbox(live_server: LiveServer, settings: LazySettings) -> Iterator[Inbox]:
    inbox = Inbox()
    view = webhook(secrets=SECRET, max_bytes=MAX_BYTES)(inbox.handle)
    settings.ROOT_URLCONF = (path("hooks/", view),)
    yield inbox
    inbox.leave.set()


@pytest.fixture
def dial(live_server: LiveServer) -> Callable[[], HTTPConnection]:
    host, port = live_server.thread.host, live_server.thread.port
    return lambda: HTTPConnection(host, port, timeout=30)


@pytest.fixture
def post(dial: Callable[[], HTTPConnection]) -> Iterator[Callable[..., "Future[int]"]]:
    """POST in a thread of its own; the future has the status."""

    def send(message_id: str) -> int:
        connection = dial()
        try:
            connection.request(
                "POST", "/hooks/", BODY, signing.headers(message_id, now(), BODY, [SECRET])
            )
            return connection.getresponse().status
        finally:
            connection.close()

    with ThreadPoolExecutor() as pool:
        yield lambda message_id="evt_1": pool.submit(send, message_id)


def now() -> int:
    return int(time.time())


def waiting_for_a_lock() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        [count] = cursor.fetchone()
    return int(count)


def test_of_many_requests_with_one_id_at_the_same_time_one_is_handled(
    inbox: Inbox, post: Callable[..., "Future[int]"]
) -> None:
    first = post()
    assert inbox.entered.wait(30)
    others = [post() for _ in range(4)]
    wait_until(lambda: waiting_for_a_lock() == 4, "the others to wait for the first one's end")
    assert not any(other.done() for other in others)
    inbox.leave.set()
    assert [one.result() for one in (first, *others)] == [204] * 5
    assert len(inbox.messages) == 1
    assert ReceivedMessage.objects.count() == 1


def test_when_the_first_fails_the_one_that_waits_is_handled(
    inbox: Inbox, post: Callable[..., "Future[int]"]
) -> None:
    inbox.failures = 1
    first = post()
    assert inbox.entered.wait(30)
    second = post()
    wait_until(lambda: waiting_for_a_lock() == 1, "the second to wait for the first one's end")
    inbox.leave.set()
    assert (first.result(), second.result()) == (500, 204)
    assert len(inbox.messages) == 2
    assert ReceivedMessage.objects.count() == 1


def test_requests_with_different_ids_do_not_wait_for_each_other(
    inbox: Inbox, post: Callable[..., "Future[int]"]
) -> None:
    both = [post("evt_1"), post("evt_2")]
    wait_until(lambda: len(inbox.messages) == 2, "both to be handled at once")
    inbox.leave.set()
    assert [one.result() for one in both] == [204, 204]


def status_of(dial: Callable[[], HTTPConnection], sent: bytes, **headers: str) -> int:
    """Of a POST whose headers say what they like of the bytes that follow, and no more."""
    connection = dial()
    try:
        connection.putrequest("POST", "/hooks/")
        for name, value in {**signing.headers("evt_1", now(), BODY, [SECRET]), **headers}.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        assert connection.sock is not None
        connection.sock.sendall(sent)
        connection.sock.shutdown(socket.SHUT_WR)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_length_that_is_so_is_taken(inbox: Inbox, dial: Callable[[], HTTPConnection]) -> None:
    inbox.leave.set()
    assert status_of(dial, BODY, content_length=str(len(BODY))) == 204


@pytest.mark.parametrize(
    ("sent", "headers", "status"),
    [
        pytest.param(BODY, {"content_length": str(len(BODY) - 1)}, 401, id="more follows"),
        pytest.param(BODY[:-1], {"content_length": str(len(BODY))}, 401, id="less follows"),
        pytest.param(b"", {"content_length": str(MAX_BYTES)}, 401, id="nothing follows"),
        pytest.param(b"", {"content_length": str(10**12)}, 413, id="a terabyte is announced"),
        pytest.param(BODY, {"content_length": "-1"}, 401, id="less than nothing"),
        pytest.param(BODY, {"content_length": "many"}, 401, id="not a number"),
        pytest.param(BODY, {}, 411, id="no length"),
        pytest.param(
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
            {"transfer_encoding": "chunked"},
            411,
            id="chunks",
        ),
        pytest.param(
            b"ffffffff\r\n" + BODY, {"transfer_encoding": "chunked"}, 411, id="one endless chunk"
        ),
    ],
)
def test_a_body_that_is_not_as_long_as_it_says_does_not_reach_the_handler(
    inbox: Inbox,
    dial: Callable[[], HTTPConnection],
    sent: bytes,
    headers: dict[str, str],
    status: int,
) -> None:
    inbox.leave.set()
    assert status_of(dial, sent, **headers) == status
    assert inbox.messages == []
