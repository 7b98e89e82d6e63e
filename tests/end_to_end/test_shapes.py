"""What arrives, in each shape that an endpoint may ask for."""

import gzip
import json
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from rest_framework.test import APIClient
from standardwebhooks import Webhook

from deliveries.emit import emit
from deliveries.models import Attempt, Delivery
from subscriptions.models import SigningSecret
from tests.conftest import MakeEndpoint
from tests.end_to_end.test_deliveries import all_ended
from tests.processes import Process, wait_until
from tests.receiver import Answer, Received, Receiver

pytestmark = pytest.mark.django_db(transaction=True)

DATA = {"invoice": "in_42", "lines": [{"price": 3}, {"price": 4}], "note": "Xerxes ✓" * 100}


def verified(request: Received) -> Any:
    """What the standardwebhooks library makes of a request."""
    secret = SigningSecret.objects.get().reveal()
    body = request.body
    if request.headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    return Webhook(secret).verify(body, request.headers)


@pytest.mark.parametrize("format", ["cloudevents", "cloudevents_binary"])
@pytest.mark.parametrize("gzip_above", [None, 100])
def test_a_cloudevent_arrives_as_its_sdk_reads_it_and_verifies(
    worker: Process,
    make_endpoint: MakeEndpoint,
    receiver: Receiver,
    format: str,
    gzip_above: int | None,
) -> None:
    make_endpoint(url=receiver.url(), format=format, gzip_above=gzip_above)
    event = emit("invoice.paid", DATA)
    [request] = receiver.wait_for(1)
    content = verified(request)
    assert (content["data"] if format == "cloudevents" else content) == DATA
    if gzip_above is None:
        read = from_http_event(HTTPMessage(headers=request.headers, body=request.body))
        assert (read.get_id(), read.get_data()) == (event.pk, DATA)
    else:
        assert len(request.body) < len(event.payload)
    wait_until(all_ended, "the record")


def test_a_thin_payload_leads_to_the_rest(
    worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver, api: APIClient
) -> None:
    make_endpoint(url=receiver.url(), payload="thin")
    event = emit("invoice.paid", DATA)
    [request] = receiver.wait_for(1)
    data = verified(request)["data"]
    assert data["id"] == event.pk
    assert api.get(data["url"]).json()["data"] == DATA
    wait_until(all_ended, "the record")


def test_a_projection_arrives_the_same_in_every_attempt(
    worker: Process, lane: str, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    receiver.answers["/hook"] = lambda _, number: Answer(500 if number < 3 else 200)
    make_endpoint(
        url=receiver.url(),
        payload="projection",
        projection="{invoice: invoice, total: sum(lines[].price)}",
        gzip_above=0,
    )
    emit("invoice.paid", DATA)
    requests = receiver.wait_for(3)
    assert verified(requests[0])["data"] == {"invoice": "in_42", "total": 7}
    assert len({request.body for request in requests}) == 1
    wait_until(all_ended, "the record")


class TestBatches:
    @pytest.mark.parametrize("format", ["standard", "cloudevents"])
    def test_full_batches_go_at_once_and_the_rest_after_its_wait(
        self, worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver, format: str
    ) -> None:
        make_endpoint(url=receiver.url(), batch_events=10, batch_seconds=2, format=format)
        emitted = [emit("ledger.entry", {"n": number}).pk for number in range(25)]
        wait_until(all_ended, "the record")
        assert len(receiver.received) == Attempt.objects.count() <= 4
        arrived = []
        for request in receiver.received:
            content = verified(request)
            arrived += [one["id"] for one in (content if format != "standard" else content["data"])]
        assert sorted(arrived) == sorted(emitted)
        assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}

    def test_one_that_fails_comes_again_as_it_was(
        self, worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver
    ) -> None:
        receiver.answers["/hook"] = lambda _, number: Answer(500 if number < 3 else 200)
        make_endpoint(url=receiver.url(), batch_events=5, batch_seconds=60)
        for number in range(5):
            emit("ledger.entry", {"n": number})
        requests = receiver.wait_for(3)
        assert len({(request.id, request.body) for request in requests}) == 1
        wait_until(all_ended, "the record")
        assert list(Attempt.objects.values_list("status", flat=True)) == [500, 500, 200]

    def test_one_that_is_too_large_comes_again_in_halves(
        self, worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver
    ) -> None:
        def at_most_three(request: Received, _: int) -> Answer:
            return Answer(200 if len(json.loads(request.body)["data"]) <= 3 else 413)

        receiver.answers["/hook"] = at_most_three
        make_endpoint(url=receiver.url(), batch_events=8, batch_seconds=60)
        for number in range(8):
            emit("ledger.entry", {"n": number})
        wait_until(all_ended, "the record")
        sizes = [len(json.loads(request.body)["data"]) for request in receiver.received]
        assert sorted(sizes) == [2, 2, 2, 2, 4, 4, 8]
        assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}

    def test_what_was_held_goes_in_batches_too(
        self, worker: Process, beat: Process, make_endpoint: MakeEndpoint, receiver: Receiver
    ) -> None:
        endpoint = make_endpoint(url=receiver.url(), batch_events=10, state="paused")
        for number in range(30):
            emit("ledger.entry", {"n": number})
        endpoint.resume()
        wait_until(all_ended, "the record")
        assert len(receiver.received) == 3
