from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from deliveries.admin import endpoint_health
from deliveries.admin.endpoint_health import health_of
from deliveries.emit import emit
from deliveries.models import Delivery
from subscriptions.models import Endpoint, Feed, Subscriber
from tests.conftest import MakeEndpoint
from tests.deliveries.admin.test_endpoint_charts import amounts
from tests.deliveries.conftest import MakeDelivery
from tests.deliveries.test_admin import attempt
from tests.subscriptions.test_admin import page_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def delivery(make_delivery: MakeDelivery) -> Delivery:
    return make_delivery()


def test_attempts_are_counted_by_the_hour_and_by_the_day(delivery: Delivery) -> None:
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    for number, (hours, outcome, took) in enumerate(
        [
            (0, "delivered", 10),
            (0, "rejected", 90),
            (3, "delivered", 20),
            (15 * 24, "delivered", 30),
        ]
    ):
        ended = hour - timedelta(hours=hours)
        attempt(delivery, number + 1, outcome=outcome, duration_ms=took, ended_at=ended)
    health = health_of(delivery.endpoint)
    by_hour, by_day = map(amounts, health.attempts)
    assert by_hour == [*[[0, 0]] * 20, [1, 0], [0, 0], [0, 0], [1, 1]]
    assert (len(by_day), by_day[-16]) == (28, [1, 0])
    assert [chart.note for chart in health.attempts] == [
        "3 attempts, 67% of which delivered.",
        "4 attempts, 75% of which delivered.",
    ]
    took, _ = map(amounts, health.durations)
    assert took == [*[[None, None]] * 20, [20, 20], [None, None], [None, None], [10, 90]]


def test_another_endpoints_attempts_are_its_own(make_delivery: MakeDelivery) -> None:
    ours, theirs = make_delivery(), make_delivery()
    attempt(theirs)
    for chart in health_of(ours.endpoint).attempts:
        assert {amount for column in amounts(chart) for amount in column} == {0}


def test_what_was_done_to_it_is_marked(delivery: Delivery) -> None:
    endpoint = delivery.endpoint
    endpoint.pause()
    endpoint.resume()
    now = timezone.now()
    Endpoint.objects.update(circuit="open", openings=1, circuit_opened_at=now, probe_at=now)
    Endpoint.objects.update(description="It says nothing of how it fares.")
    health = health_of(endpoint)
    what = {change.what for change in health.changes}
    assert what == {"created", "paused", "active", "circuit open"}
    for chart in (*health.attempts, *health.durations):
        assert len(chart.marks) == len(health.changes)


def test_of_a_busy_endpoint_the_newest_deliveries_are_read_and_that_is_said(
    admin_client: Client, make_endpoint: MakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = make_endpoint("*")
    for _ in range(3):
        attempt(emit("order.paid", {}).deliveries.get())
    assert "Counted are the attempts" not in admin_client.get(page_of(endpoint)).content.decode()
    monkeypatch.setattr(endpoint_health, "DELIVERIES_READ", 2)
    health = health_of(endpoint)
    assert health.whole_since is not None
    assert sum(map(sum, amounts(health.attempts[0]))) <= 3
    assert "Counted are the attempts" in admin_client.get(page_of(endpoint)).content.decode()


def test_it_takes_two_queries_and_both_go_by_an_index(delivery: Delivery) -> None:
    with CaptureQueriesContext(connection) as captured:
        health_of(delivery.endpoint)
    [bound, tally] = [query["sql"] for query in captured if "deliveries_delivery" in query["sql"]]
    assert "percentile_disc" in tally
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for statement, index in (
            (bound, "delivery_by_endpoint"),
            (tally, "delivery_by_endpoint"),
            (tally, "attempt_number_once_per_delivery"),
        ):
            cursor.execute(f"EXPLAIN {statement}")
            assert any(index in line for (line,) in cursor.fetchall()), (statement, index)


def test_it_takes_the_permission_to_see_attempts_and_a_feed_has_none(
    client: Client, admin_client: Client, delivery: Delivery, subscriber: Subscriber
) -> None:
    user = User.objects.create_user("clerk", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_endpoint"))
    client.force_login(user)
    heading = "How it fared"
    assert heading not in client.get(page_of(delivery.endpoint)).content.decode()
    user.user_permissions.add(Permission.objects.get(codename="view_attempt"))
    assert heading in client.get(page_of(delivery.endpoint)).content.decode()
    feed = Feed.objects.open(subscriber)
    assert heading not in client.get(page_of(feed)).content.decode()
