from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from deliveries import operations, replays, sweeps
from deliveries.emit import emit
from deliveries.models import DeadLetter, Delivery, Event, OperationalNotice, Replay
from deliveries.operational import MAX_NAMED, Notice, gathered
from deliveries.pipeline import claim, record
from subscriptions.catalogue import catalogue
from subscriptions.health import warn
from subscriptions.ids import to_uuid
from subscriptions.models import Endpoint, EventType, Subscriber
from tests.api_client import api as api
from tests.conftest import Configure, MakeEndpoint
from webhooks.sending.outcome import Outcome, OutcomeKind

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("queue")]

GONE = Outcome(kind=OutcomeKind.REJECTED, status=410, error="answered 410 Gone")
REFUSED = Outcome(kind=OutcomeKind.REJECTED, status=500, error="answered 500")


@pytest.fixture(autouse=True)
def known_at_once(configure: Configure) -> None:
    configure(CATALOGUE_AGE=0)
    catalogue.forget()


@pytest.fixture
def operator(make_endpoint: MakeEndpoint) -> Endpoint:
    """An endpoint of whoever runs Angarium, which asks for everything."""
    owner = Subscriber.objects.create(name="Operations", operator=True)
    return make_endpoint("*", owner=owner, url="http://127.0.0.1:9/operations")


def fail(outcome: Outcome, endpoint: Endpoint, *, count: int = 1) -> list[str]:
    """Let so many deliveries to an endpoint end with an outcome; returns which."""
    events = [emit("invoice.paid", {"n": n}, subscriber=endpoint.subscriber) for n in range(count)]
    deliveries = Delivery.objects.filter(event__in=events, endpoint=endpoint)
    claims = claim(to_uuid(delivery.pk) for delivery in deliveries)
    record([(ours.lease, outcome) for ours in claims])
    return [delivery.pk for delivery in deliveries.order_by("pk")]


def told() -> list[tuple[str, dict[str, object]]]:
    """What the operators have been told after the next sweep."""
    sweeps.notices()
    events = Event.objects.filter(subscriber__operator=True).order_by("pk")
    return [(event.type, event.data) for event in events]


class TestWhat:
    def test_a_disabled_endpoint_is_told_with_the_reason(
        self, operator: Endpoint, make_endpoint: MakeEndpoint, configure: Configure
    ) -> None:
        endpoint = make_endpoint()
        [delivery] = fail(GONE, endpoint)
        about = {"endpoint": endpoint.pk, "subscriber": endpoint.subscriber_id, "url": endpoint.url}
        disabled, dead = sorted(told(), reverse=True)
        assert disabled[0] == "endpoint.disabled"
        assert disabled[1].pop("failing_since")
        assert disabled[1] == {**about, "reason": "It answered 410 Gone."}
        assert dead == (
            "delivery.dead",
            {
                **about,
                "reason": "gone",
                "last_error": "answered 410 Gone",
                "count": 1,
                "deliveries": [delivery],
            },
        )

    def test_an_endpoint_that_is_enabled_again_is_told(
        self, operator: Endpoint, make_endpoint: MakeEndpoint
    ) -> None:
        endpoint = make_endpoint(state="disabled", disabled_reason="It answered 410 Gone.")
        endpoint.resume()
        assert [name for name, _ in told()] == ["endpoint.enabled"]

    def test_a_replay_is_told_once_it_is_finished(
        self, operator: Endpoint, make_endpoint: MakeEndpoint
    ) -> None:
        endpoint = make_endpoint()
        replay = Replay(endpoint=endpoint)
        replay.clean()
        replays.start(replay)
        assert told() == []
        while replays.step(replay.pk) is not None:
            pass
        about = {"endpoint": endpoint.pk, "subscriber": endpoint.subscriber_id, "url": endpoint.url}
        finished = {"replay": replay.pk, "kind": "again", "replayed": 0}
        assert told() == [("replay.finished", {**about, **finished})]

    def test_an_endpoint_is_told_of_before_it_is_disabled_for_failing(
        self, operator: Endpoint, make_endpoint: MakeEndpoint, configure: Configure
    ) -> None:
        configure(DISABLE_AFTER=100_000)
        endpoint = make_endpoint()
        now = timezone.now()
        for seconds in (60_000, 95_000, 100_001):
            Endpoint.objects.filter(pk=endpoint.pk).update(
                failing_since=now - timedelta(seconds=seconds), last_failure_at=now
            )
            warn(10)
        facts = [(name, data.get("percent")) for name, data in told()]
        assert facts == [
            ("endpoint.warning", 50),
            ("endpoint.warning", 90),
            ("endpoint.disabled", None),
        ]

    def test_pausing_and_resuming_is_a_person_s_own_doing_and_is_not_told(
        self, operator: Endpoint, make_endpoint: MakeEndpoint
    ) -> None:
        endpoint = make_endpoint()
        endpoint.pause()
        endpoint.resume()
        endpoint.delete_for_good()
        assert told() == []

    def test_it_is_told_whichever_way_it_happens(
        self, operator: Endpoint, make_endpoint: MakeEndpoint
    ) -> None:
        make_endpoint()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE subscriptions_endpoint SET state = 'disabled'")
        assert [name for name, _ in told()] == ["endpoint.disabled"]

    def test_it_is_told_once(self, operator: Endpoint, make_endpoint: MakeEndpoint) -> None:
        make_endpoint(state="disabled").resume()
        assert len(told()) == 1
        assert len(told()) == 1
        assert not OperationalNotice.objects.exists()

    def test_the_dead_of_one_endpoint_and_reason_are_told_together(
        self, operator: Endpoint, make_endpoint: MakeEndpoint, configure: Configure
    ) -> None:
        configure(RETRY_SCHEDULE=[])
        deliveries = fail(REFUSED, make_endpoint(url="http://127.0.0.1:9/one"), count=3)
        fail(REFUSED, make_endpoint(url="http://127.0.0.1:9/two"))
        first, second = (data for _, data in told())
        assert (first["count"], first["deliveries"]) == (3, deliveries)
        assert second["count"] == 1

    def test_of_very_many_dead_the_number_is_told_and_some_are_named(self) -> None:
        data = {"endpoint": "ep_1", "reason": "gone"}
        at = Event().occurred_at
        [one] = gathered(
            Notice("delivery.dead", at, {**data, "delivery": f"dlv_{n}"}) for n in range(500)
        )
        assert (one.data["count"], len(one.data["deliveries"])) == (500, MAX_NAMED)


class TestWhom:
    def test_operators_alone_are_told(
        self, operator: Endpoint, make_endpoint: MakeEndpoint
    ) -> None:
        others = make_endpoint("*")
        make_endpoint(state="disabled").resume()
        told()
        assert Delivery.objects.get().endpoint == operator
        assert not others.deliveries.exists()

    def test_each_operator_is_told(self, operator: Endpoint, make_endpoint: MakeEndpoint) -> None:
        second = Subscriber.objects.create(name="The night watch", operator=True)
        make_endpoint("endpoint.*", owner=second)
        make_endpoint(state="disabled").resume()
        told()
        assert Delivery.objects.count() == 2

    def test_where_nobody_listens_nothing_is_written_down(
        self, make_endpoint: MakeEndpoint
    ) -> None:
        make_endpoint(state="disabled").resume()
        fail(GONE, make_endpoint())
        assert not OperationalNotice.objects.exists()

    def test_an_operator_s_own_endpoints_are_no_news_so_nothing_goes_round_in_circles(
        self, operator: Endpoint, make_endpoint: MakeEndpoint, configure: Configure
    ) -> None:
        configure(RETRY_SCHEDULE=[])
        make_endpoint(state="disabled").resume()
        told()
        [ours] = claim([to_uuid(Delivery.objects.get().pk)])
        record([(ours.lease, GONE)])
        operator.refresh_from_db()
        assert operator.state == "disabled"
        operator.resume()
        assert DeadLetter.objects.count() == 1
        assert [name for name, _ in told()] == ["endpoint.enabled"]  # the one of the beginning
        assert not OperationalNotice.objects.exists()


class TestHow:
    def test_a_change_that_is_rolled_back_is_not_told(
        self, operator: Endpoint, make_endpoint: MakeEndpoint
    ) -> None:
        endpoint = make_endpoint(state="disabled")
        with transaction.atomic():
            endpoint.resume()
            transaction.set_rollback(True)
        assert told() == []

    def test_an_operator_may_ask_for_them_though_the_catalogue_has_them_not(
        self, operator: Endpoint, configure: Configure, api: APIClient, make_endpoint: MakeEndpoint
    ) -> None:
        configure(UNKNOWN_EVENT_TYPES="refuse")
        wish = {"pattern": "endpoint.disabled"}
        other = make_endpoint("invoice.*")
        path = "/api/v1/subscriptions/"
        assert api.post(path, {"endpoint": operator.pk, **wish}).status_code == 201
        assert api.post(path, {"endpoint": other.pk, **wish}).status_code == 400
        make_endpoint(state="disabled").resume()
        assert [name for name, _ in told()] == ["endpoint.enabled"]

    def test_an_application_s_own_type_of_that_name_does_not_stop_the_rest(
        self,
        operator: Endpoint,
        make_endpoint: MakeEndpoint,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        EventType.objects.create(name="delivery.dead", schema={"required": ["lorry"]})
        fail(GONE, make_endpoint())
        assert [name for name, _ in told()] == ["endpoint.disabled"]
        assert f"delivery.dead cannot be told to {operator.subscriber_id}" in caplog.text

    def test_redriven_and_dead_again_is_told_again(
        self, operator: Endpoint, make_endpoint: MakeEndpoint, configure: Configure
    ) -> None:
        configure(RETRY_SCHEDULE=[])
        [delivery] = fail(REFUSED, make_endpoint())
        told()
        operations.redrive([to_uuid(delivery)])
        [ours] = claim([to_uuid(delivery)])
        record([(ours.lease, REFUSED)])
        assert [name for name, _ in told()] == ["delivery.dead", "delivery.dead"]
