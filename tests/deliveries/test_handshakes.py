import json
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from deliveries import handshakes, plain_lane, sweeps
from deliveries.emit import emit
from deliveries.handshakes import WAITS, Try
from deliveries.models import Attempt, Delivery, Event
from deliveries.pipeline import claim
from subscriptions.ids import to_uuid
from subscriptions.models import Endpoint, Handshake, SigningSecret
from tests.conftest import Configure, MakeEndpoint, Queue
from tests.receiver import Answer, Received, Receiver
from webhooks import signing
from webhooks.sending.outcome import Outcome, OutcomeKind

pytestmark = pytest.mark.django_db


def echo(request: Received, _: int) -> Answer:
    return Answer(200, json.dumps(json.loads(request.body)["data"]).encode())


@pytest.fixture
def endpoint(make_endpoint: MakeEndpoint, receiver: Receiver) -> Endpoint:
    """One that has to answer a challenge, and does."""
    receiver.answers["/hook"] = echo
    endpoint = make_endpoint(url=receiver.url())
    endpoint.require_handshake()
    return endpoint


def shake(endpoint: Endpoint) -> Handshake:
    done: list[str] = []
    handshakes.shake(endpoint.pk, plain_lane.start, lambda: done.append("done"))
    assert done == ["done"]
    endpoint.refresh_from_db()
    return Handshake.objects.get(endpoint=endpoint)


def make_due(endpoint: Endpoint) -> None:
    Handshake.objects.filter(endpoint=endpoint).update(due_at=timezone.now())


def seconds_until(handshake: Handshake) -> float:
    assert handshake.due_at is not None
    return (handshake.due_at - timezone.now()).total_seconds()


def test_an_endpoint_that_repeats_the_challenge_is_active_from_then_on(endpoint: Endpoint) -> None:
    assert endpoint.state == "unverified"
    handshake = shake(endpoint)
    assert endpoint.state == "active"
    assert (handshake.tries, handshake.status, handshake.error) == (1, 200, "")
    assert handshake.verified_at is not None
    assert handshake.due_at is None


def test_the_challenge_is_signed_and_carries_the_endpoint_s_credentials(
    endpoint: Endpoint, receiver: Receiver
) -> None:
    endpoint.set_credentials(headers={"X-Tenant": "isfahan"})
    endpoint.save()
    shake(endpoint)
    [request] = receiver.received
    secret = SigningSecret.objects.get().reveal()
    content = signing.verify(request.headers, request.body, str(secret)).json()
    assert content["type"] == "angarium.handshake"
    assert list(content["data"]) == ["challenge"]
    assert request.headers["x-tenant"] == "isfahan"
    assert request.id.startswith("evt_")


@pytest.mark.parametrize(
    "shape", [{"format": "cloudevents"}, {"payload": "thin"}, {"batch_events": 10, "gzip_above": 1}]
)
def test_it_comes_in_the_standard_shape_whatever_events_look_like(
    endpoint: Endpoint, shape: dict[str, Any]
) -> None:
    Endpoint.objects.update(**shape)
    assert shake(endpoint).verified_at is not None


def test_a_handshake_leaves_no_event_and_no_delivery(endpoint: Endpoint) -> None:
    shake(endpoint)
    assert not Event.objects.exists()
    assert not Delivery.objects.exists()
    assert not Attempt.objects.exists()


def test_nothing_is_sent_to_an_endpoint_before_it_has_repeated_its_challenge(
    endpoint: Endpoint, receiver: Receiver
) -> None:
    event = emit("invoice.paid", {})
    delivery = event.deliveries.get()
    assert delivery.state == "held"
    assert claim([to_uuid(delivery.pk)]) == []
    assert sweeps.held() == 0
    shake(endpoint)
    assert [one.headers["webhook-id"] for one in receiver.received] != [event.pk]
    assert sweeps.held() == 1
    delivery.refresh_from_db()
    assert delivery.state == "pending"


def test_what_was_under_way_when_a_handshake_was_required_is_held(
    make_endpoint: MakeEndpoint,
) -> None:
    endpoint = make_endpoint()
    delivery = emit("invoice.paid", {}).deliveries.get()
    assert delivery.state == "pending"
    endpoint.require_handshake()
    assert claim([to_uuid(delivery.pk)]) == []
    delivery.refresh_from_db()
    assert delivery.state == "held"


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (Answer(200), 200, "the answer does not repeat the challenge"),
        (Answer(204, b""), 204, "the answer does not repeat the challenge"),
        (Answer(500, b"oops"), 500, "answered 500 Internal Server Error"),
        (Answer(302, b"", {"Location": "/else"}), 302, "answered 302 Found, which is not followed"),
    ],
)
def test_why_an_endpoint_is_not_verified_can_be_seen(
    endpoint: Endpoint, receiver: Receiver, answer: Answer, status: int, error: str
) -> None:
    receiver.answers["/hook"] = lambda *_: answer
    handshake = shake(endpoint)
    assert endpoint.state == "unverified"
    assert (handshake.status, handshake.error) == (status, error)
    assert handshake.response_body == answer.body.decode()
    assert handshake.tried_at is not None
    assert handshake.verified_at is None


def test_a_challenge_that_comes_with_another_status_than_2xx_counts_for_nothing(
    endpoint: Endpoint, receiver: Receiver
) -> None:
    receiver.answers["/hook"] = lambda request, number: Answer(500, echo(request, number).body)
    assert shake(endpoint).verified_at is None


def test_each_try_has_another_challenge_so_that_an_old_one_opens_nothing(
    endpoint: Endpoint, receiver: Receiver
) -> None:
    first: list[bytes] = []

    def answer_with_the_first(request: Received, number: int) -> Answer:
        first.append(echo(request, number).body)
        return Answer(500 if len(first) == 1 else 200, first[0])

    receiver.answers["/hook"] = answer_with_the_first
    shake(endpoint)
    make_due(endpoint)
    assert shake(endpoint).error == "the answer does not repeat the challenge"
    assert first[0] != first[1]


def test_it_is_tried_again_with_longer_and_longer_waits_and_then_given_up(
    endpoint: Endpoint, receiver: Receiver
) -> None:
    receiver.answers["/hook"] = lambda *_: Answer(503)
    for wait in WAITS:
        handshake = shake(endpoint)
        assert wait - 30 < seconds_until(handshake) <= wait
        assert handshakes.due(10) == []
        make_due(endpoint)
        assert handshakes.due(10) == [endpoint.pk]
    last = shake(endpoint)
    assert (last.tries, last.due_at) == (len(WAITS) + 1, None)
    assert endpoint.state == "unverified"
    assert handshakes.due(10) == []


def test_one_that_was_given_up_is_tried_anew_when_somebody_asks(
    endpoint: Endpoint, receiver: Receiver
) -> None:
    Handshake.objects.update(due_at=None, tries=5)
    endpoint.require_handshake()
    assert shake(endpoint).verified_at is not None


def test_where_no_request_can_be_made_that_is_the_outcome(endpoint: Endpoint) -> None:
    SigningSecret.objects.all().delete()
    handshake = shake(endpoint)
    assert handshake.outcome == "unrenderable"
    assert "no signing secret" in handshake.error


class TestATry:
    def test_is_made_by_one_worker_at_a_time(self, endpoint: Endpoint) -> None:
        assert handshakes.take(endpoint.pk) is not None
        assert handshakes.take(endpoint.pk) is None

    def test_that_is_lost_with_its_worker_is_made_again_when_its_lease_is_over(
        self, endpoint: Endpoint, configure: Configure
    ) -> None:
        configure(TIMEOUT=-1, LEASE_MARGIN=0)
        first = handshakes.take(endpoint.pk)
        second = handshakes.take(endpoint.pk)
        assert first is not None
        assert second is not None
        assert (first.number, second.number) == (1, 2)
        assert first.challenge != second.challenge

    @pytest.mark.parametrize("state", ["active", "paused", "disabled", "deleted"])
    def test_is_not_made_while_the_endpoint_is_at_rest_or_needs_none(
        self, endpoint: Endpoint, state: str
    ) -> None:
        Endpoint.objects.update(state=state)
        assert handshakes.take(endpoint.pk) is None
        assert handshakes.due(10) == []

    def test_does_not_count_once_the_handshake_is_required_anew(self, endpoint: Endpoint) -> None:
        """As where the URL has moved while the old one was asked."""
        ours = self.taken(endpoint)
        endpoint.require_handshake()
        handshakes.record(ours, self.repeated(ours))
        endpoint.refresh_from_db()
        assert endpoint.state == "unverified"
        assert Handshake.objects.get().verified_at is None
        assert shake(endpoint).verified_at is not None

    def test_of_a_worker_that_lost_its_lease_does_not_count(self, endpoint: Endpoint) -> None:
        ours = self.taken(endpoint)
        make_due(endpoint)
        self.taken(endpoint)
        handshakes.record(ours, self.repeated(ours))
        assert Handshake.objects.get().verified_at is None

    @pytest.mark.parametrize("state", ["paused", "disabled"])
    def test_that_succeeds_does_not_resume_what_was_stopped_meanwhile(
        self, endpoint: Endpoint, state: str
    ) -> None:
        ours = self.taken(endpoint)
        Endpoint.objects.update(state=state)
        handshakes.record(ours, self.repeated(ours))
        endpoint.refresh_from_db()
        assert endpoint.state == state
        endpoint.resume()
        assert endpoint.state == "active"

    def test_does_not_show_its_challenge(self, endpoint: Endpoint) -> None:
        ours = self.taken(endpoint)
        assert ours.challenge not in repr(ours)

    def taken(self, endpoint: Endpoint) -> Try:
        ours = handshakes.take(endpoint.pk)
        assert ours is not None
        return ours

    def repeated(self, ours: Try) -> Outcome:
        return Outcome(OutcomeKind.DELIVERED, 200, response_body=ours.challenge)


@pytest.mark.parametrize("state", ["paused", "disabled"])
def test_one_that_is_at_rest_is_challenged_when_it_is_resumed(
    endpoint: Endpoint, state: str
) -> None:
    endpoint.state = state
    endpoint.save()
    Handshake.objects.update(due_at=None, tries=5)
    endpoint.require_handshake()
    assert endpoint.state == state
    endpoint.resume()
    assert endpoint.state == "unverified"
    assert shake(endpoint).verified_at is not None
    endpoint.pause()
    endpoint.resume()
    assert endpoint.state == "active"


def test_a_deleted_endpoint_leaves_no_handshake(endpoint: Endpoint) -> None:
    endpoint.delete_for_good()
    assert not Handshake.objects.exists()


def test_a_try_that_breaks_off_is_logged_and_its_message_acknowledged(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "close", lambda: None)  # the test's own transaction
    done: list[str] = []
    handshakes.shake("nonsense", plain_lane.start, lambda: done.append("done"))
    assert done == ["done"]
    assert "it is tried again" in caplog.text


@pytest.mark.django_db(transaction=True)
class TestWhoIsRung:
    def test_a_worker_is_once_a_handshake_is_required(
        self, endpoint: Endpoint, queue: Queue
    ) -> None:
        queue.purge()
        endpoint.require_handshake()
        assert queue.messages("housekeeping") == [("deliveries.handshake", [endpoint.pk])]

    def test_and_again_by_the_sweep_while_it_is_due(self, endpoint: Endpoint, queue: Queue) -> None:
        queue.purge()
        assert sweeps.due_handshakes() == 1
        assert queue.messages("housekeeping") == [("deliveries.handshake", [endpoint.pk])]
        shake(endpoint)
        assert sweeps.due_handshakes() == 0
