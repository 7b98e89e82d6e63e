import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from deliveries import testing
from deliveries.models import Attempt, Delivery, Event
from deliveries.testing import NotTestable, ShownExchange, TooManyTests, send_test_event
from subscriptions.authentication import (
    BasicAuthentication,
    BearerAuthentication,
    OAuth2ClientCredentials,
)
from subscriptions.models import Endpoint, Feed, SigningSecret, Subscriber
from tests.conftest import Configure, MakeEndpoint
from tests.deliveries.courier.turnstile import Turnstile
from tests.receiver import Answer, Received, Receiver
from tests.webhooks.sending.hostile_receiver import HostileReceiver
from tests.webhooks.sending.token_server import CLIENT, Issuer
from webhooks import signing

pytestmark = pytest.mark.django_db


def sent_as(exchange: ShownExchange, request: Received) -> None:
    """Assert that what is shown of a request is what came, but for what is blotted out."""
    shown = {name.lower(): value for name, value in exchange.request_headers.items()}
    assert set(shown) == set(request.headers)
    for name, value in shown.items():
        assert value in (request.headers[name], "[secret]"), name
    assert exchange.request_body == request.body.decode()


def test_a_test_event_is_shown_as_it_went_out_and_with_what_came_back(
    make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    receiver.answers["/hook"] = lambda *_: Answer(201, b"thank you", {"X-Server": "Nginx 7"})
    endpoint = make_endpoint("nothing.like.it", url=receiver.url())
    exchange = send_test_event(endpoint)
    [request] = receiver.received
    sent_as(exchange, request)
    secret = str(SigningSecret.objects.get().reveal())
    content = signing.verify(request.headers, request.body, secret).json()
    assert (content["type"], content["data"]["endpoint"]) == ("angarium.test", endpoint.pk)
    assert exchange.url == endpoint.url
    assert (exchange.outcome.status, exchange.outcome.response_body) == (201, "thank you")
    assert exchange.response_headers["X-Server"] == "Nginx 7"
    assert exchange.outcome.succeeded


def test_it_leaves_no_record(make_endpoint: MakeEndpoint, receiver: Receiver) -> None:
    receiver.answers["/hook"] = lambda *_: Answer(410)
    endpoint = make_endpoint(url=receiver.url())
    before = Endpoint.objects.values().get()
    send_test_event(endpoint)
    assert not Event.objects.exists()
    assert not Delivery.objects.exists()
    assert not Attempt.objects.exists()
    assert Endpoint.objects.values().get() == before


@pytest.mark.parametrize("state", ["active", "paused", "disabled"])
def test_it_is_for_endpoints_at_rest_too(
    make_endpoint: MakeEndpoint, receiver: Receiver, state: str
) -> None:
    assert send_test_event(make_endpoint(url=receiver.url(), state=state)).outcome.succeeded


@pytest.mark.parametrize(
    "shape",
    [
        {"format": "cloudevents"},
        {"payload": "thin"},
        {"payload": "projection", "projection": "{said: message}"},
        {"batch_events": 2},
    ],
)
def test_it_comes_in_the_endpoint_s_shape(
    make_endpoint: MakeEndpoint, receiver: Receiver, shape: dict[str, Any]
) -> None:
    exchange = send_test_event(make_endpoint(url=receiver.url(), **shape))
    sent_as(exchange, receiver.received[0])
    assert json.loads(exchange.request_body)


def test_a_compressed_body_is_shown_as_it_was_before(
    make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    exchange = send_test_event(make_endpoint(url=receiver.url(), gzip_above=1))
    assert json.loads(exchange.request_body)["type"] == "angarium.test"
    assert receiver.received[0].body[:2] == b"\x1f\x8b"


@pytest.mark.parametrize(
    "authentication",
    [BasicAuthentication("Aladdin", "open sesame"), BearerAuthentication("open-sesame")],
)
def test_nothing_of_the_credentials_is_shown_though_the_answer_repeats_them(
    make_endpoint: MakeEndpoint, receiver: Receiver, authentication: Any
) -> None:
    def echo(request: Received, _: int) -> Answer:
        told = request.headers["authorization"] + request.headers["x-tenant"]
        return Answer(200, told.encode(), {"X-Echo": told})

    receiver.answers["/hook"] = echo
    endpoint = make_endpoint(url=receiver.url())
    endpoint.set_credentials(headers={"X-Tenant": "isfahan"}, authentication=authentication)
    endpoint.save()
    exchange = send_test_event(endpoint)
    assert exchange.request_headers["authorization"] == "[secret]"
    assert exchange.request_headers["X-Tenant"] == "[secret]"
    arrived = receiver.received[0].headers["authorization"].partition(" ")[2]
    for secret in (arrived, "isfahan"):
        assert secret not in str(exchange)
        assert secret not in exchange.outcome.response_body
    assert "[secret]" in exchange.response_headers["X-Echo"]


def test_nor_is_a_token_that_was_fetched(make_endpoint: MakeEndpoint, receiver: Receiver) -> None:
    receiver.answers["/hook"] = lambda request, _: Answer(
        200, b"", {"X-Echo": request.headers["authorization"]}
    )
    endpoint = make_endpoint(url=receiver.url())
    issuer = Issuer()
    with HostileReceiver(issuer) as token_server:
        endpoint.set_credentials(
            authentication=OAuth2ClientCredentials(token_server.url(), *CLIENT)
        )
        endpoint.save()
        exchange = send_test_event(endpoint)
    [token] = issuer.issued
    assert receiver.received[-1].headers["authorization"] == f"Bearer {token}"
    assert exchange.request_headers["authorization"] == "[secret]"
    assert exchange.response_headers["X-Echo"] == "Bearer [secret]"


def test_what_goes_wrong_is_shown(make_endpoint: MakeEndpoint) -> None:
    exchange = send_test_event(make_endpoint(url="http://127.0.0.1:1025/"))
    assert exchange.outcome.kind == "connection_failed"
    assert exchange.outcome.error == "connection refused by 127.0.0.1:1025"
    assert exchange.request_headers["Host"] == "127.0.0.1:1025"
    assert exchange.response_headers == {}


def test_what_cannot_be_rendered_says_why(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    SigningSecret.objects.all().delete()
    exchange = send_test_event(endpoint)
    assert (exchange.outcome.kind, exchange.request_body) == ("unrenderable", "")


def test_an_address_that_is_not_allowed_gets_nothing(make_endpoint: MakeEndpoint) -> None:
    assert send_test_event(make_endpoint(url="http://10.0.0.1/")).outcome.kind == "address_refused"


def test_an_endpoint_that_is_silent_does_not_keep_the_web_server_for_long(
    make_endpoint: MakeEndpoint, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(testing, "TIMEOUT", 0.2)
    turnstile = Turnstile()
    receiver.answers["/hook"] = turnstile
    try:
        exchange = send_test_event(make_endpoint(url=receiver.url()))
    finally:
        turnstile.open()
    assert exchange.outcome.kind == "timed_out"


def test_a_timeout_that_is_set_shorter_holds_here_too(
    make_endpoint: MakeEndpoint, receiver: Receiver, configure: Configure
) -> None:
    configure(TIMEOUT=0.2)
    turnstile = Turnstile()
    receiver.answers["/hook"] = turnstile
    try:
        exchange = send_test_event(make_endpoint(url=receiver.url()))
    finally:
        turnstile.open()
    assert exchange.outcome.kind == "timed_out"


def test_few_are_under_way_at_a_time(make_endpoint: MakeEndpoint, receiver: Receiver) -> None:
    turnstile = Turnstile()
    receiver.answers["/hook"] = turnstile
    endpoint = make_endpoint(url=receiver.url())
    with ThreadPoolExecutor(testing.AT_ONCE) as pool:
        request = testing.probe(endpoint, "angarium.test", {}, endpoint.shape)
        with pytest.MonkeyPatch.context() as patch:
            # The threads have no part in this test's transaction.
            patch.setattr(testing, "probe", lambda *_: request)
            running = [pool.submit(send_test_event, endpoint) for _ in range(testing.AT_ONCE)]
            receiver.wait_for(testing.AT_ONCE)
            with pytest.raises(TooManyTests, match="try again"):
                send_test_event(endpoint)
            turnstile.open()
            assert all(one.result(30).outcome.succeeded for one in running)
    assert send_test_event(endpoint).outcome.succeeded


def test_an_endpoint_that_has_not_answered_its_challenge_is_sent_nothing_else(
    make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    endpoint = make_endpoint(url=receiver.url())
    endpoint.require_handshake()
    with pytest.raises(NotTestable, match="challenge"):
        send_test_event(endpoint)
    assert receiver.received == []


def test_nothing_is_sent_to_a_feed(subscriber: Subscriber) -> None:
    with pytest.raises(NotTestable, match="feed"):
        send_test_event(Feed.objects.open(subscriber))
