"""Angarium tells whoever runs it of what goes wrong, by webhooks of its own."""

import json

import pytest

from deliveries.emit import emit
from deliveries.models import Delivery, Event
from subscriptions import encryption
from subscriptions.models import SigningSecret, Subscriber
from tests.conftest import MakeEndpoint
from tests.processes import Process, wait_until
from tests.receiver import Answer, Receiver
from webhooks.signing import verify


@pytest.mark.django_db(transaction=True)
def test_an_endpoint_that_is_gone_is_told_to_the_operator_and_one_of_the_operator_s_is_not(
    beat: Process, worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    receiver.answers["/gone"] = receiver.answers["/deaf"] = lambda _, __: Answer(410)
    operator = Subscriber.objects.create(name="Operations", operator=True)
    listening = make_endpoint("*", owner=operator, url=receiver.url("/operations"))
    deaf = make_endpoint("*", owner=operator, url=receiver.url("/deaf"))
    gone = make_endpoint("invoice.*", url=receiver.url("/gone"))
    emit("invoice.paid", {}, subscriber=gone.subscriber)
    received = receiver.wait_for(2, path="/operations")
    dead = Delivery.objects.filter(state="dead", endpoint=deaf)
    wait_until(dead.exists, "the operator's own dead delivery")
    secret = encryption.decrypt(SigningSecret.objects.get(endpoint=listening).ciphertext)
    for request in received:
        verify(request.headers, request.body, [secret])
    told = {event["type"]: event["data"] for event in (json.loads(r.body) for r in received)}
    assert set(told) == {"endpoint.disabled", "delivery.dead"}
    assert {data["endpoint"] for data in told.values()} == {gone.pk}
    # The deaf one's own end was no news.
    assert Event.objects.filter(subscriber=operator).count() == 2
