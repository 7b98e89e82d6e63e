import gzip
import io
import json
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from traceback import TracebackException
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils import timezone

from webhooks import signing
from webhooks.keys import Kind, generate_secret, signing_key
from webhooks.receiving.messages import Message
from webhooks.receiving.models import ReceivedMessage
from webhooks.receiving.views import View, webhook

pytestmark = pytest.mark.django_db

SECRET, OTHER = generate_secret(), generate_secret()
PRIVATE = generate_secret(Kind.ED25519)
PUBLIC = signing_key(PRIVATE).public
# Tests have the bytes in their names, which must be the same in every process of pytest-xdist.
compressed = partial(gzip.compress, mtime=0)
EVENT = {"type": "invoice.paid", "timestamp": "2026-07-01T12:00:00Z", "data": {"amount": 100}}


class Inbox:
    """A handler that notes its calls, and fails as often as it is told."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.failures = 0
        self.view: View = webhook(secrets=SECRET, max_bytes=10_000)(self.handle)

    def handle(self, message: Message) -> None:
        self.messages.append(message)
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the handler's own trouble")


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


def post(
    view: View,
    content: Any = EVENT,
    *,
    sign_as: str = "evt_1",
    secret: str = SECRET,
    age: int = 0,
    **headers: str,
) -> HttpResponse:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    signed = signing.headers(sign_as, int(time.time()) - age, body, [secret])
    return view(
        RequestFactory().post(
            "/", body, content_type="application/json", headers={**signed, **headers}
        )
    )


def test_a_verified_webhook_reaches_its_handler_as_a_message(inbox: Inbox) -> None:
    assert post(inbox.view).status_code == 204
    [message] = inbox.messages
    assert (message.id, message.type, message.data) == ("evt_1", "invoice.paid", {"amount": 100})
    assert message.occurred_at == datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert abs(message.sent_at - timezone.now()) < timedelta(minutes=1)
    assert json.loads(message.body) == EVENT


def test_a_doubled_delivery_is_acknowledged_and_handled_once(inbox: Inbox) -> None:
    assert [post(inbox.view).status_code for _ in range(3)] == [204, 204, 204]
    assert len(inbox.messages) == 1


def test_the_same_id_from_another_source_is_another_message(inbox: Inbox) -> None:
    post(inbox.view)
    post(webhook(secrets=SECRET, source="elsewhere")(inbox.handle))
    assert len(inbox.messages) == 2


def test_when_the_handler_fails_the_sender_may_try_again(
    inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    inbox.failures = 1
    assert post(inbox.view).status_code == 500
    assert "the handler's own trouble" in caplog.text
    assert not ReceivedMessage.objects.exists()
    assert post(inbox.view).status_code == 204
    assert len(inbox.messages) == 2


def test_what_a_failing_handler_wrote_is_rolled_back() -> None:
    def handle(_: Message) -> None:
        ReceivedMessage.objects.create(source="handler", message_id="its own row")
        raise RuntimeError

    assert post(webhook(secrets=SECRET)(handle)).status_code == 500
    assert not ReceivedMessage.objects.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": OTHER},
        {"age": 301},
        {"age": -301},
        {"webhook-id": "evt_2"},
        {"webhook-signature": ""},
        {"webhook-timestamp": "now"},
    ],
)
def test_what_is_not_verified_is_refused_and_leaves_no_trace(
    inbox: Inbox, wrong: dict[str, Any]
) -> None:
    response = post(inbox.view, **wrong)
    assert response.status_code == 401
    # Which check failed is in the log, not in the answer to whom it may concern.
    assert json.loads(response.content) == {"error": "The webhook is not verified."}
    assert inbox.messages == []
    assert not ReceivedMessage.objects.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"not json",
        b"\xff\xfe",
        b"[" * 5000,
        [EVENT],
        {},
        {**EVENT, "type": 7},
        {**EVENT, "timestamp": "noon"},
        {**EVENT, "timestamp": 5},
        {"type": "a", "timestamp": "2026-07-01T12:00:00Z"},
    ],
)
def test_a_signed_body_that_is_no_event_is_refused(inbox: Inbox, content: Any) -> None:
    assert post(inbox.view, content).status_code == 400
    assert inbox.messages == []


def post_compressed(view: View, body: bytes, *, encoding: str = "gzip") -> HttpResponse:
    """A webhook whose body arrives as given; it was signed before it was compressed."""
    signed = signing.headers("evt_1", int(time.time()), json.dumps(EVENT).encode(), [SECRET])
    headers = {**signed, "content-encoding": encoding}
    request = RequestFactory().post("/", body, content_type="application/json", headers=headers)
    return view(request)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
def test_a_body_in_gzip_is_verified_as_it_was_before(inbox: Inbox, encoding: str) -> None:
    body = compressed(json.dumps(EVENT).encode())
    assert post_compressed(inbox.view, body, encoding=encoding).status_code == 204
    assert inbox.messages[0].data == EVENT["data"]


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"{}", "gzip", 400),
        (compressed(json.dumps(EVENT).encode())[:-4], "gzip", 400),
        (compressed(json.dumps(EVENT).encode()) + b"more", "gzip", 400),
        (compressed(b"{}"), "gzip", 401),
        (b"{}", "br", 415),
        (b"{}", "gzip, gzip", 415),
        (compressed(bytes(10_001)), "gzip", 413),
    ],
)
def test_what_is_compressed_in_another_way_or_to_no_end_is_refused(
    inbox: Inbox, body: bytes, encoding: str, status: int
) -> None:
    assert post_compressed(inbox.view, body, encoding=encoding).status_code == status
    assert inbox.messages == []


def test_of_a_compressed_bomb_no_more_is_unpacked_than_may_be(inbox: Inbox) -> None:
    bomb = compressed(bytes(9_000_000))
    assert len(bomb) < 10_000
    tracemalloc.start()
    try:
        assert post_compressed(inbox.view, bomb).status_code == 413
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


BATCH = {
    "type": "angarium.batch",
    "timestamp": "2026-07-01T12:00:00Z",
    "data": [{"id": f"evt_{number}", **EVENT} for number in (1, 2, 3)],
}


def test_each_event_of_a_batch_is_handled_once_by_its_own_id(inbox: Inbox) -> None:
    post(inbox.view)
    assert post(inbox.view, BATCH, sign_as="bat_1").status_code == 204
    assert [message.id for message in inbox.messages] == ["evt_1", "evt_2", "evt_3"]
    assert inbox.messages[2].data == EVENT["data"]


def test_a_batch_is_handled_wholly_or_not_at_all(inbox: Inbox) -> None:
    inbox.failures = 1
    assert post(inbox.view, BATCH, sign_as="bat_1").status_code == 500
    assert not ReceivedMessage.objects.exists()
    assert post(inbox.view, BATCH, sign_as="bat_1").status_code == 204
    assert [message.id for message in inbox.messages] == ["evt_1", "evt_1", "evt_2", "evt_3"]


@pytest.mark.parametrize(
    "item", [7, EVENT, {"id": 7, **EVENT}, {"id": "evt_1", **EVENT, "type": None}]
)
def test_a_batch_of_anything_but_events_is_refused(inbox: Inbox, item: Any) -> None:
    assert post(inbox.view, {**BATCH, "data": [item]}).status_code == 400
    assert inbox.messages == []


CHALLENGE = {**EVENT, "type": "angarium.handshake", "data": {"challenge": "abc"}}


def test_a_challenge_is_repeated_without_the_handler_and_as_often_as_it_comes(
    inbox: Inbox,
) -> None:
    for _ in range(2):
        response = post(inbox.view, CHALLENGE)
        assert response.status_code == 200
        assert json.loads(response.content) == {"challenge": "abc"}
    assert inbox.messages == []
    assert not ReceivedMessage.objects.exists()


def test_a_challenge_that_is_not_verified_is_not_repeated(inbox: Inbox) -> None:
    response = post(inbox.view, CHALLENGE, secret=OTHER)
    assert response.status_code == 401
    assert b"abc" not in response.content


@pytest.mark.parametrize("data", [None, {}, "abc", {"challenge": 5}])
def test_a_handshake_without_a_challenge_is_refused(inbox: Inbox, data: Any) -> None:
    assert post(inbox.view, {**CHALLENGE, "data": data}).status_code == 400


def test_a_body_over_the_limit_is_refused_before_it_is_verified(inbox: Inbox) -> None:
    assert post(inbox.view, b"x" * 10_001).status_code == 413
    assert post(inbox.view, b"x" * 10_000).status_code == 400


def in_chunks(inbox: Inbox, content: bytes) -> tuple[HttpResponse, io.BytesIO]:
    """The answer to a body in chunks, as ASGI hands it over, and what was read of it."""
    signed = signing.headers("evt_1", int(time.time()), content, [SECRET])
    headers = [(name.encode(), value.encode()) for name, value in signed.items()]
    body = io.BytesIO(content)
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    return inbox.view(ASGIRequest(scope, body)), body


def test_a_body_in_chunks_is_taken_where_the_server_hands_it_over(inbox: Inbox) -> None:
    response, _ = in_chunks(inbox, json.dumps(EVENT).encode())
    assert response.status_code == 204
    assert len(inbox.messages) == 1


def test_no_more_of_a_body_is_read_than_may_be(inbox: Inbox) -> None:
    response, body = in_chunks(inbox, b"x" * 1_000_000)
    assert response.status_code == 413
    assert body.tell() == 10_001


def test_a_body_that_breaks_off_is_refused(inbox: Inbox) -> None:
    class Broken(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise ConnectionResetError

    request = RequestFactory().post("/", b"x", content_type="application/json")
    request.META["wsgi.input"] = Broken()
    request = WSGIRequest(request.META)
    assert inbox.view(request).status_code == 400


def test_only_post_is_allowed(inbox: Inbox) -> None:
    assert inbox.view(RequestFactory().get("/")).status_code == 405


@pytest.mark.parametrize("secrets", [[OTHER, SECRET], lambda: SECRET, lambda: [OTHER, SECRET]])
def test_secrets_may_be_several_and_may_be_looked_up_late(
    inbox: Inbox, secrets: Callable[[], str]
) -> None:
    assert post(webhook(secrets=secrets)(inbox.handle)).status_code == 204


@pytest.mark.parametrize("signs", [SECRET, PRIVATE], ids=list(Kind))
def test_secrets_of_both_kinds_may_count_side_by_side(inbox: Inbox, signs: str) -> None:
    view = webhook(secrets=[PUBLIC, OTHER, SECRET])(inbox.handle)
    assert post(view, secret=signs).status_code == 204
    assert post(view, secret=generate_secret(Kind.ED25519)).status_code == 401


def test_a_handler_that_fails_leaves_no_secret_in_the_traceback(
    inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    plain = str(SECRET)
    inbox.failures = 1
    post(webhook(secrets=plain)(inbox.handle), secret=SECRET)
    [record] = caplog.records
    assert record.exc_info
    shown = TracebackException(*record.exc_info, capture_locals=True)  # type: ignore[arg-type]
    assert "handler = " in "".join(shown.format())
    assert plain not in "".join(shown.format())


def test_old_records_are_forgotten_a_few_at_a_time() -> None:
    for number in range(5):
        ReceivedMessage.objects.create(
            source="angarium",
            message_id=f"evt_{number}",
            received_at=timezone.now() - timedelta(days=10 * number),
        )
    forgotten = ReceivedMessage.objects.forget(timedelta(days=15), at_most=2)
    assert forgotten == 2
    assert set(ReceivedMessage.objects.values_list("message_id", flat=True)) == {
        "evt_0",
        "evt_1",
        "evt_2",
    }
