"""Replays are counted, started and steered in the portal as they are elsewhere."""

import pytest

from deliveries.emit import emit
from deliveries.models import Delivery, Replay
from subscriptions.models import Endpoint, Feed
from tests.conftest import MakeEndpoint
from tests.deliveries.portal.conftest import Visitor
from tests.deliveries.portal.test_endpoints import faults

pytestmark = pytest.mark.django_db

AGAIN = {"kind": "again", "pattern": "invoice.*", "rate": "50"}


@pytest.fixture
def endpoint(make_endpoint: MakeEndpoint) -> Endpoint:
    endpoint = make_endpoint("*")
    for name in ("invoice.paid", "invoice.overdue", "carpet.woven"):
        emit(name, {})
    Delivery.objects.update(state="delivered", ended_at=endpoint.created_at)
    return endpoint


def test_it_is_counted_before_it_is_started(visitor: Visitor, endpoint: Endpoint) -> None:
    at = f"endpoints/{endpoint.pk}/replay/"
    assert "Count, and send nothing yet" in visitor.says(at)
    assert "2 would be sent" in visitor.post(at, **AGAIN).content.decode()
    assert not Replay.objects.exists()
    answer = visitor.post(at, **AGAIN, start="1")
    assert answer.headers["Location"] == "/portal/replays/?done=replay-started"
    replay = Replay.objects.get()
    assert (replay.endpoint, replay.pattern, replay.state) == (endpoint, "invoice.*", "running")
    assert "invoice.*" in visitor.says("replays/")


def test_what_is_no_good_is_said_next_to_its_field(visitor: Visitor, endpoint: Endpoint) -> None:
    at = f"endpoints/{endpoint.pk}/replay/"
    for change, wrong in (
        ({"pattern": "no good"}, "pattern"),
        ({"rate": "0"}, "rate"),
        ({"since": "2999-01-01T00:00"}, "since"),
    ):
        answer = visitor.post(at, **{**AGAIN, **change})
        assert (answer.status_code, faults(answer)) == (422, {wrong})


def test_an_endpoint_has_one_at_a_time(visitor: Visitor, endpoint: Endpoint) -> None:
    at = f"endpoints/{endpoint.pk}/replay/"
    visitor.post(at, **AGAIN, start="1")
    answer = visitor.post(at, **AGAIN, start="1")
    assert answer.status_code == 422
    assert "has a replay under way" in answer.content.decode()


def test_it_is_paused_resumed_and_cancelled(visitor: Visitor, endpoint: Endpoint) -> None:
    visitor.post(f"endpoints/{endpoint.pk}/replay/", **AGAIN, start="1")
    replay = Replay.objects.get()
    for action, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        answer = visitor.post(f"replays/{replay.pk}/{action}/")
        replay.refresh_from_db()
        assert (answer.headers["Location"], replay.state) == (
            "/portal/replays/?done=replay-changed",
            state,
        )
    answer = visitor.post(f"replays/{replay.pk}/resume/")
    assert answer.headers["Location"] == "/portal/replays/?done=replay-ended"


def test_a_feed_has_none(visitor: Visitor) -> None:
    feed = Feed.objects.open(visitor.subscriber)
    assert visitor.get(f"endpoints/{feed.pk}/replay/").status_code == 404
    assert "Nothing to replay to yet" in visitor.says("replays/")
