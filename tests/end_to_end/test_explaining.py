"""What became of an event, told from what real workers, sweeps and endpoints left behind."""

import pytest
from rest_framework.test import APIClient

from deliveries.emit import emit
from deliveries.models import Attempt, Delivery
from subscriptions.models import Endpoint
from tests.conftest import MakeEndpoint
from tests.processes import Process, wait_until
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)


def state() -> str:
    return Delivery.objects.get().state


def test_an_endpoint_that_fails_and_is_paused_and_resumed_is_told_of_to_the_end(
    worker: Process, beat: Process, api: APIClient, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    receiver.answers["/hook"] = lambda *_: Answer(503, headers={"retry-after": "3"})
    endpoint = make_endpoint("invoice.*", url=receiver.url())
    path = f"/api/v1/endpoints/{endpoint.pk}/"
    event = emit("invoice.paid", {"amount": 100})
    wait_until(lambda: Attempt.objects.exists(), "the first attempt")

    assert api.post(f"{path}pause/").status_code == 200
    wait_until(lambda: state() == "held", "it to be held when it is due")

    def explained() -> dict[str, object]:
        answer = api.get(f"/api/v1/events/{event.pk}/explain/", {"endpoint": endpoint.pk})
        told: dict[str, object] = answer.json()
        return told

    told = explained()
    assert "The endpoint is paused since" in str(told["answer"])
    assert "by the tests" in str(told["answer"])

    del receiver.answers["/hook"]
    assert api.post(f"{path}resume/").status_code == 200
    wait_until(lambda: state() == "delivered", "the delivery")

    told = explained()
    timeline = told["timeline"]
    assert isinstance(timeline, list)
    assert [(moment["what"], moment["state"]) for moment in timeline] == [
        ("event", ""),
        ("delivery", "pending"),
        ("state", "sending"),
        ("attempt", "waiting"),
        ("change", ""),
        ("state", "held"),
        ("change", ""),
        ("state", "pending"),
        ("state", "sending"),
        ("attempt", "delivered"),
    ]
    failed, delivered = (moment["attempt"] for moment in timeline if moment["attempt"])
    assert (failed["status"], delivered["status"]) == (503, 200)
    assert failed["connect_ms"] is not None
    for attempt in (failed, delivered):
        assert 0 <= attempt["first_byte_ms"] <= attempt["duration_ms"]
        assert (attempt["dns_ms"], attempt["tls_ms"]) == (None, None)
    paused, held, resumed, released = timeline[4:8]
    assert "state: active → paused" in paused["explanation"]
    assert "state: paused → active" in resumed["explanation"]
    assert paused["by"] == resumed["by"] != ""
    assert held["explanation"] == "It was held: the endpoint was paused."
    assert released["explanation"] == "It was released: the endpoint takes deliveries again."
    assert told["next"] == {"explanation": "Nothing: it has arrived.", "at": None}
    assert Endpoint.objects.get().state == "active"
