"""An endpoint is challenged, answers, and gets what was held for it; in both lanes."""

import json

import pytest
from django.conf import LazySettings
from django.urls import path
from pytest_django.live_server_helper import LiveServer
from rest_framework.test import APIClient

from deliveries.emit import emit
from subscriptions.models import Endpoint, Handshake, Subscriber
from tests.api_client import api as api
from tests.conftest import MakeEndpoint
from tests.deliveries.courier.turnstile import Turnstile
from tests.end_to_end.test_deliveries import all_ended
from tests.processes import Process, wait_until
from tests.receiver import Answer, Received, Receiver
from webhooks.keys import generate_secret
from webhooks.receiving.messages import Message
from webhooks.receiving.views import webhook

pytestmark = pytest.mark.django_db(transaction=True)


def type_of(request: Received) -> str:
    event_type: str = json.loads(request.body)["type"]
    return event_type


def test_an_endpoint_that_is_added_by_the_api_answers_and_then_gets_what_was_held(
    worker: Process, beat: Process, api: APIClient, subscriber: Subscriber, receiver: Receiver
) -> None:
    handshaking = Turnstile()

    def answer(request: Received, number: int) -> Answer:
        if type_of(request) == "angarium.handshake":
            handshaking(request, number)
            return Answer(200, json.dumps(json.loads(request.body)["data"]).encode())
        return Answer()

    receiver.answers["/hook"] = answer
    body = {
        "subscriber": subscriber.pk,
        "url": receiver.url(),
        "subscriptions": ["*"],
        "require_handshake": True,
    }
    added = api.post("/api/v1/endpoints/", body).json()
    receiver.wait_for(1)
    emit("invoice.paid", {})
    handshaking.open()
    requests = receiver.wait_for(2)
    assert [type_of(one) for one in requests] == ["angarium.handshake", "invoice.paid"]
    wait_until(all_ended, "the record")
    shown = api.get(f"/api/v1/endpoints/{added['id']}/").json()
    assert (shown["state"], shown["handshake"]["status"]) == ("active", 200)


def test_our_own_receiving_side_answers_by_itself(
    worker: Process,
    live_server: LiveServer,
    settings: LazySettings,
    api: APIClient,
    subscriber: Subscriber,
) -> None:
    secret, received = generate_secret(), list[Message]()

    @webhook(secrets=secret)
    def view(message: Message) -> None:
        received.append(message)

    body = {
        "subscriber": subscriber.pk,
        "url": f"http://127.0.0.1:{live_server.thread.port}/hooks/",
        "secret": secret,
        "require_handshake": True,
    }
    assert api.post("/api/v1/endpoints/", body).status_code == 201
    settings.ROOT_URLCONF = (path("hooks/", view),)
    active = Endpoint.objects.filter(state="active")
    wait_until(active.exists, "the handshake")
    assert received == []


def test_a_challenge_that_fails_is_sent_again(
    worker: Process, beat: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    endpoint = make_endpoint(url=receiver.url())
    receiver.answers["/hook"] = lambda *_: Answer(500)
    endpoint.require_handshake()
    failed = Handshake.objects.filter(tries=1, status=500)
    wait_until(failed.exists, "the record of the first try")
    failed.update(due_at=failed.get().required_at)
    receiver.wait_for(2)
    again = Handshake.objects.filter(tries=2, status=500)
    wait_until(again.exists, "the record of the second try")
