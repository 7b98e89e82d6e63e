"""In the admin it is tried out what a subscription would make of events; none is delivered."""

from collections.abc import Callable

import pytest
from django.contrib.admin.utils import quote
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from deliveries.emit import emit
from deliveries.models import Event
from subscriptions.models import Subscription
from tests.conftest import MakeEndpoint
from tests.subscriptions.test_admin import page_of
from tests.subscriptions.test_admin import staff_client as staff_client

pytestmark = pytest.mark.django_db


@pytest.fixture
def subscription(make_endpoint: MakeEndpoint) -> Subscription:
    make_endpoint("invoice.*").subscriptions.update(filter="amount > `100`", channels=["eu"])
    return Subscription.objects.get()


def try_out(client: Client, subscription: Subscription, **form: str) -> HttpResponse:
    page = reverse("admin:subscriptions_subscription_try", args=[quote(subscription.pk)])
    response: HttpResponse = client.post(page, form) if form else client.get(page)
    return response


def test_its_page_leads_there(admin_client: Client, subscription: Subscription) -> None:
    page = reverse("admin:subscriptions_subscription_try", args=[quote(subscription.pk)])
    assert page in admin_client.get(page_of(subscription)).content.decode()


def test_it_is_tried_on_the_last_events_as_it_is(
    admin_client: Client, subscription: Subscription
) -> None:
    for amount in (80, 120):
        emit("invoice.paid", {"amount": amount}, channels=["eu"])
    page = try_out(admin_client, subscription)
    trials = page.context["trials"]  # type: ignore[attr-defined]
    assert [trial.explanation.matched for trial in trials] == [True, False]
    assert Event.objects.latest("pk").pk in page.content.decode()


def test_it_is_tried_on_an_example_with_other_words(
    admin_client: Client, subscription: Subscription
) -> None:
    page = try_out(
        admin_client,
        subscription,
        pattern="order.*",
        filter="note == '<b>'",
        event_type="order.paid",
        event_data='{"note": "<b>"}',
    ).content.decode()
    assert '<span class="mark good">yes</span>' in page
    assert "<b>" not in page
    subscription.refresh_from_db()
    assert (subscription.pattern, subscription.filter) == ("invoice.*", "amount > `100`")
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"filter": "a["}, "Column 3"),
        ({"pattern": "*.a"}, "Use an event type"),
        ({"channels": "a b"}, "is not a channel"),
        ({"event_type": "a", "event_data": "{"}, "no data of an event"),
        ({"event_type": "a", "event_data": "[" * 100_000}, "no data of an event"),
        ({"event_type": "a", "event_data": "NaN"}, "no data of an event"),
        ({"event_type": "a", "event_channels": "a b"}, "is not a channel"),
    ],
)
def test_what_cannot_be_tried_is_said(
    admin_client: Client,
    subscription: Subscription,
    form: dict[str, str],
    said: str,
) -> None:
    page = try_out(admin_client, subscription, **{"pattern": "*", **form})
    assert said in page.content.decode()
    assert page.context["trials"] == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("permissions", "status"),
    [
        (["view_subscription"], 403),
        (["view_event"], 403),
        (["view_subscription", "view_event"], 200),
    ],
)
def test_it_takes_leave_to_see_subscriptions_and_events(
    staff_client: Callable[..., Client],
    subscription: Subscription,
    permissions: list[str],
    status: int,
) -> None:
    assert try_out(staff_client(*permissions), subscription).status_code == status


@pytest.mark.parametrize("key", ["nonsense", "sbn_" + "0" * 32])
def test_a_subscription_that_is_not_there_is_not_found(admin_client: Client, key: str) -> None:
    page = reverse("admin:subscriptions_subscription_try", args=[quote(key)])
    assert admin_client.get(page).status_code == 404
