from rest_framework.test import APIClient

from deliveries import testing
from subscriptions.models import Endpoint, Feed, Subscriber
from tests.api_client import faults
from tests.conftest import MakeEndpoint
from tests.receiver import Answer, Receiver


def path_of(endpoint: Endpoint) -> str:
    return f"/api/v1/endpoints/{endpoint.pk}/test/"


def test_a_test_event_s_request_and_answer_are_the_answer(
    api: APIClient, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    receiver.answers["/hook"] = lambda *_: Answer(503, b"later", {"Retry-After": "5"})
    endpoint = make_endpoint(url=receiver.url())
    response = api.post(path_of(endpoint))
    [request] = receiver.received
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    shown = response.json()
    assert shown["request"]["url"] == endpoint.url
    assert shown["request"]["body"] == request.body.decode()
    assert shown["request"]["headers"]["webhook-id"] == request.id
    assert shown["response"]["status"] == 503
    assert shown["response"]["headers"]["Retry-After"] == "5"
    assert shown["response"]["body"] == "later"
    assert (shown["outcome"], shown["error"]) == ("rejected", "answered 503 Service Unavailable")
    assert shown["duration_ms"] >= 0


def test_where_no_answer_comes_the_error_is_the_answer(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    shown = api.post(path_of(make_endpoint(url="http://127.0.0.1:1025/"))).json()
    assert shown["response"] == {"status": None, "headers": {}, "body": ""}
    assert shown["error"] == "connection refused by 127.0.0.1:1025"


def test_neither_a_feed_nor_an_unverified_endpoint_is_sent_one(
    api: APIClient, make_endpoint: MakeEndpoint, subscriber: Subscriber
) -> None:
    unverified = make_endpoint()
    unverified.require_handshake()
    for endpoint in (unverified, Feed.objects.open(subscriber)):
        response = api.post(path_of(endpoint))
        assert (response.status_code, faults(response)) == (409, ["detail"])


def test_whoever_comes_while_too_many_are_under_way_is_told_when_to_come_again(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    turns = [testing._turns.acquire(blocking=False) for _ in range(testing.AT_ONCE)]
    try:
        assert all(turns)
        response = api.post(path_of(make_endpoint()))
    finally:
        testing._turns.release(testing.AT_ONCE)
    assert (response.status_code, response.headers["Retry-After"]) == (429, "1")


def test_there_is_no_test_event_for_an_endpoint_that_is_not_there(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    gone = make_endpoint()
    gone.delete_for_good()
    for key in (gone.pk, "nonsense", "ep_" + "f" * 32):
        assert api.post(f"/api/v1/endpoints/{key}/test/").status_code == 404
