from typing import Any

import pytest
from rest_framework.test import APIClient

from deliveries.api.explaining import EXAMPLE
from deliveries.emit import emit
from deliveries.pipeline import record
from subscriptions.models import ApiKey, Endpoint, Subscriber, Subscription
from tests.api_client import client_of, faults
from tests.conftest import MakeEndpoint, Queue
from tests.deliveries.test_pipeline import FAILED, TIMED, take_one

# Times are those of transactions: in one for the whole test all would be the same.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def empty_queue(queue: Queue) -> None:
    pass


def ask(client: APIClient, event: str, endpoint: str) -> Any:
    return client.get(f"/api/v1/events/{event}/explain/", {"endpoint": endpoint})


# Its moments are in order where each is a transaction of its own.
@pytest.mark.django_db(transaction=True)
def test_what_was_delivered_is_told_from_the_event_to_the_last_byte(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint("made.*")
    event = emit("made.once", {})
    delivery = event.deliveries.get()
    record([(take_one(delivery).lease, TIMED)])
    told = ask(api, event.pk, endpoint.pk).json()
    assert (told["delivery"], told["state"]) == (delivery.pk, "delivered")
    assert told["answer"] == "It was delivered by attempt 1."
    assert told["next"] == {"explanation": "Nothing: it has arrived.", "at": None}
    assert (told["matching"]["matched"], told["matching"]["rule"]) == (True, "matched")
    assert [moment["what"] for moment in told["timeline"]] == [
        "event",
        "delivery",
        "state",
        "attempt",
    ]
    attempt = told["timeline"][-1]["attempt"]
    assert {name: attempt[name] for name in attempt if name.endswith("_ms")} == {
        "duration_ms": 7,
        "dns_ms": 1,
        "connect_ms": 2,
        "tls_ms": 3,
        "first_byte_ms": 4,
    }


def test_what_did_not_match_has_no_delivery_and_a_rule(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint("other.*")
    told = ask(api, emit("made.once", {}).pk, endpoint.pk).json()
    assert (told["delivery"], told["state"]) == (None, None)
    assert (told["matching"]["matched"], told["matching"]["rule"]) == (False, "not_asked_for")
    [asked] = told["matching"]["subscriptions"]
    assert (asked["matched"], asked["decided_by"]) == (False, "type")
    Subscription.objects.create(endpoint=endpoint, pattern="made.*")
    told = ask(api, told["event"], endpoint.pk).json()
    assert told["matching"]["rule"] == "changed_since"


@pytest.mark.parametrize("endpoint", ["ep_" + "0" * 32, None])
def test_an_endpoint_that_is_not_there_is_not_found(
    api: APIClient, make_endpoint: MakeEndpoint, endpoint: str | None
) -> None:
    existing = make_endpoint()
    event = emit("made.once", {}).pk
    if endpoint is None:
        event, endpoint = "evt_" + "0" * 32, existing.pk
    answer = ask(api, event, endpoint)
    assert (answer.status_code, faults(answer)) == (404, ["detail"])


@pytest.mark.parametrize("query", [{}, {"endpoint": "x"}, {"endpoint": "evt_" + "0" * 32}])
def test_the_endpoint_must_be_named_by_its_id(
    api: APIClient, make_endpoint: MakeEndpoint, query: dict[str, str]
) -> None:
    make_endpoint()
    answer = api.get(f"/api/v1/events/{emit('made.once', {}).pk}/explain/", query)
    assert (answer.status_code, faults(answer)) == (400, ["endpoint"])


def test_another_s_endpoint_is_not_there_for_a_bound_key(
    make_endpoint: MakeEndpoint, subscriber: Subscriber
) -> None:
    other = make_endpoint(owner=Subscriber.objects.create(name="Croesus"))
    own = make_endpoint()
    event = emit("made.once", {})
    client = client_of(ApiKey(name="ours", subscriber=subscriber))
    assert ask(client, event.pk, own.pk).status_code == 200
    assert ask(client, event.pk, other.pk).status_code == 404


def test_a_bound_key_is_not_told_who_the_operator_s_people_are(
    api: APIClient, make_endpoint: MakeEndpoint, subscriber: Subscriber
) -> None:
    endpoint = make_endpoint()
    event = emit("made.once", {})
    assert api.post(f"/api/v1/endpoints/{endpoint.pk}/pause/").status_code == 200
    assert "the tests" in ask(api, event.pk, endpoint.pk).content.decode()
    bound = client_of(ApiKey(name="ours", subscriber=subscriber))
    told = ask(bound, event.pk, endpoint.pk)
    assert "the tests" not in told.content.decode()
    assert told.json()["timeline"][-1]["by"] == "another API key"


def test_the_example_in_the_document_is_like_a_real_answer(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint("invoice.*")
    event = emit("invoice.paid", {})
    record([(take_one(event.deliveries.get()).lease, FAILED)])
    assert shape(ask(api, event.pk, endpoint.pk).json()) >= shape(EXAMPLE)
    assert Endpoint.objects.get().state == "active"


def shape(value: Any, path: str = "") -> set[str]:
    """The names of all that is in it."""
    if isinstance(value, dict):
        return {path}.union(*(shape(inner, f"{path}.{name}") for name, inner in value.items()))
    if isinstance(value, list):
        return {path}.union(*(shape(inner, path) for inner in value))
    return {path}
