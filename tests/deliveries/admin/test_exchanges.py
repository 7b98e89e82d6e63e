"""The page of a delivery."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from deliveries.admin.exchanges import ATTEMPTS_SHOWN, what_happened
from deliveries.emit import emit
from deliveries.models import Delivery
from subscriptions.authentication import BearerAuthentication
from tests.conftest import MakeEndpoint
from tests.deliveries.conftest import MakeDelivery
from tests.deliveries.test_admin import HOSTILE, attempt
from tests.deliveries.test_operations import ALL_STATES, in_state
from tests.subscriptions.test_admin import page_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def waiting(make_delivery: MakeDelivery) -> Delivery:
    return in_state(make_delivery, "waiting")


def test_it_tells_what_happened_in_the_words_of_the_page_that_explains(
    admin_client: Client, waiting: Delivery
) -> None:
    page = admin_client.get(page_of(waiting)).content.decode()
    for sentence in ("How it stands", "The event was emitted.", "for a worker to take."):
        assert sentence in page


def test_each_attempt_has_its_request_beside_its_response(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint("*", url="https://example.com/hook")
    endpoint.set_credentials(
        headers={"X-Tenant": "isfahan"}, authentication=BearerAuthentication("sesame")
    )
    endpoint.save()
    event = emit("order.paid", {"note": HOSTILE})
    delivery = event.deliveries.get()
    ended = timezone.now()
    attempt(delivery, 1, outcome="timed_out", status=None, error=HOSTILE, ended_at=ended)
    attempt(
        delivery,
        2,
        response_headers="Server: gate\u202e\nRetry-After: 60",
        response_body='{"detail": "closed"}',
        ended_at=ended,
    )
    page = admin_client.get(page_of(delivery)).content.decode()
    assert re.findall(r"<strong>Attempt (\d)</strong>", page) == ["2", "1"]
    assert page.count("POST https://example.com/hook") == 2
    began = (ended - timedelta(milliseconds=12)).timestamp()
    for shown in (event.pk, "application/json", "X-Tenant", f"about {began:.0f}", "HTTP 503"):
        assert shown in page
    assert page.count("<dt>note</dt>") == 1
    assert page.count("The same body") == 1
    for name, value in (("Server", r"gate\u202e"), ("Retry-After", "60")):
        assert f'<th scope="row">{name}</th><td>{value}</td>' in page
    assert '<code class="str">&quot;closed&quot;</code>' in page
    for secret in (HOSTILE, "isfahan", "sesame", "whsec_"):
        assert secret not in page


def test_the_steps_of_an_attempt_fill_the_whole_of_its_time(
    admin_user: User, waiting: Delivery
) -> None:
    attempt(waiting, dns_ms=10, connect_ms=20, tls_ms=None, first_byte_ms=50, duration_ms=100)
    [exchange] = what_happened(admin_user, waiting)["exchanges"]
    assert [(step.name, step.begins, step.share) for step in exchange.steps] == [
        ("DNS", 0, 10),
        ("connect", 10, 20),
        ("first byte", 30, 50),
        ("rest", 80, 20),
    ]


def test_of_many_attempts_the_newest_are_shown_and_the_others_counted(
    admin_user: User, waiting: Delivery
) -> None:
    for number in range(1, ATTEMPTS_SHOWN + 4):
        attempt(waiting, number)
    told = what_happened(admin_user, waiting)
    assert [one.attempt.number for one in told["exchanges"]] == [*range(23, 3, -1)]
    assert told["exchanges_left_out"] == 3


def test_it_tells_no_more_than_may_be_seen(waiting: Delivery) -> None:
    attempt(waiting)
    clerk = User.objects.create_user("clerk", is_staff=True)
    told = []
    for permissions in (["view_delivery"], ["view_event", "view_endpoint"], ["view_attempt"]):
        clerk.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
        told.append(what_happened(User.objects.get(pk=clerk.pk), waiting))
    nothing, timeline, all_of_it = told
    assert nothing == {}
    assert "moments" in timeline
    assert "exchanges" not in timeline
    assert "exchanges" in all_of_it


@pytest.mark.parametrize(
    ("state", "buttons"),
    [
        ("pending", ["discard"]),
        ("sending", []),
        ("waiting", ["retry_now", "discard"]),
        ("delivered", ["replay"]),
        ("dead", ["redrive", "replay", "discard"]),
    ],
)
def test_it_has_a_button_for_what_may_be_done_in_its_state(
    admin_client: Client, make_delivery: MakeDelivery, state: str, buttons: list[str]
) -> None:
    assert state in ALL_STATES
    page = admin_client.get(page_of(in_state(make_delivery, state))).content.decode()
    assert re.findall(r'<button name="action" value="(\w+)">', page) == buttons
