"""The walk of an event, with a real worker, a real beat and a real endpoint."""

import json
import threading
from collections.abc import Callable

import pytest
from standardwebhooks import Webhook

from deliveries.emit import emit
from deliveries.models import Attempt, DeadLetter, Delivery, Event
from subscriptions.models import Endpoint, SigningSecret
from tests.conftest import Configure, MakeEndpoint
from tests.processes import Process, wait_until
from tests.receiver import Answer, Received, Receiver

pytestmark = pytest.mark.django_db(transaction=True)


def all_ended() -> bool:
    return not Delivery.objects.filter(ended_at=None).exists()


def fails(times: int, status: int = 500, **headers: str) -> Callable[[Received, int], Answer]:
    def answer(_: Received, number: int) -> Answer:
        return Answer(status, b"not now", headers) if number <= times else Answer()

    return answer


def test_an_event_arrives_signed_and_is_written_down(
    worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    make_endpoint("invoice.*", url=receiver.url())
    event = emit("invoice.paid", {"amount": 100, "name": "Xerxes ✓"})
    [request] = receiver.wait_for(1)
    wait_until(all_ended, "the record")

    assert request.id == event.pk
    assert request.headers["content-type"] == "application/json"
    secret = SigningSecret.objects.get().reveal()
    assert Webhook(secret).verify(request.body, request.headers) == {
        "type": "invoice.paid",
        "timestamp": json.loads(request.body)["timestamp"],
        "data": {"amount": 100, "name": "Xerxes ✓"},
    }
    attempt = Attempt.objects.get()
    assert (attempt.number, attempt.outcome, attempt.status) == (1, "delivered", 200)
    assert attempt.response_body == "ok"
    assert Endpoint.objects.get().last_success_at is not None


def test_a_failing_endpoint_is_tried_again_with_the_same_id_and_body_and_a_new_signature(
    worker: Process, lane: str, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    receiver.answers["/hook"] = fails(3)
    make_endpoint(url=receiver.url())
    emit("invoice.paid", {"amount": 100})
    requests = receiver.wait_for(4)
    wait_until(all_ended, "the record")

    assert Delivery.objects.get().state == "delivered"
    assert len({request.id for request in requests}) == 1
    assert len({request.body for request in requests}) == 1
    assert len({request.headers["webhook-timestamp"] for request in requests}) == 4
    secret = Webhook(SigningSecret.objects.get().reveal())
    for request in requests:
        secret.verify(request.body, request.headers)
    assert list(Attempt.objects.values_list("number", "status")) == [
        (1, 500),
        (2, 500),
        (3, 500),
        (4, 200),
    ]
    if lane == "plain":
        assert "Retry in 1" in worker.text()  # Celery's own countdown


def test_a_dead_letter_is_redriven_when_its_endpoint_has_recovered(
    worker: Process, beat: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    receiver.answers["/hook"] = lambda request, _: Answer(500 if b'"bad"' in request.body else 200)
    make_endpoint(url=receiver.url())
    emit("invoice.paid", "bad")
    wait_until(lambda: DeadLetter.objects.filter(reason="exhausted").exists(), "the dead letter")
    assert DeadLetter.objects.get().last_error == "answered 500 Internal Server Error"
    assert Attempt.objects.count() == 4

    del receiver.answers["/hook"]
    emit("invoice.paid", "good")
    wait_until(lambda: Delivery.objects.filter(state="delivered").count() == 2, "the redrive")
    assert DeadLetter.objects.get().resolution == "recovered"


def test_410_ends_the_delivery_and_disables_the_endpoint_and_what_follows_is_held(
    worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    receiver.answers["/hook"] = fails(1, 410)
    make_endpoint(url=receiver.url())
    emit("invoice.paid", {})
    wait_until(all_ended, "the record")
    assert DeadLetter.objects.get().reason == "gone"
    assert Endpoint.objects.get().state == "disabled"
    assert emit("invoice.paid", {}).deliveries.get().state == "held"


def test_a_paused_endpoint_s_deliveries_arrive_after_it_is_resumed(
    worker: Process, beat: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    endpoint = make_endpoint(url=receiver.url())
    endpoint.pause()
    emitted = {emit("invoice.paid", {"n": number}).pk for number in range(5)}
    endpoint.resume()
    assert {request.id for request in receiver.wait_for(5)} == emitted


def test_retry_after_puts_the_retry_off(
    worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    receiver.answers["/hook"] = fails(1, 429, **{"retry-after": "3"})
    make_endpoint(url=receiver.url())
    emit("invoice.paid", {})
    first, second = (int(one.headers["webhook-timestamp"]) for one in receiver.wait_for(2))
    assert second - first >= 3


def test_a_redirect_is_a_failure_and_is_not_followed(
    worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    receiver.answers["/hook"] = fails(9, 307, location=receiver.url("/elsewhere"))
    make_endpoint(url=receiver.url())
    emit("invoice.paid", {})
    wait_until(all_ended, "the record")
    assert {attempt.outcome for attempt in Attempt.objects.all()} == {"redirected"}
    assert {request.path for request in receiver.received} == {"/hook"}


def test_an_event_for_many_endpoints_is_fanned_out_by_a_worker(
    worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver, configure: Configure
) -> None:
    configure(FAN_OUT_INLINE_LIMIT=5)
    for number in range(40):
        make_endpoint(url=receiver.url(f"/{number}"))
    event = emit("invoice.paid", {})
    assert event.delivery_count == 0
    requests = receiver.wait_for(40)
    wait_until(all_ended, "the record")
    assert {request.path for request in requests} == {f"/{number}" for number in range(40)}
    assert Event.objects.get().delivery_count == 40


def test_a_slow_endpoint_is_cut_off_at_the_deadline(
    worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    released = threading.Event()

    def silent(*_: object) -> Answer:
        released.wait(30)
        return Answer()

    receiver.answers["/hook"] = silent
    make_endpoint(url=receiver.url())
    emit("invoice.paid", {})
    wait_until(lambda: Attempt.objects.exists(), "the first attempt's end")
    released.set()
    assert Attempt.objects.earliest("number").outcome == "timed_out"
