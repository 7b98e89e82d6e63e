import re

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from deliveries.emit import emit
from deliveries.models import DeadLetter, Delivery, Event, Replay
from deliveries.roles import OPERATORS, VIEWERS
from subscriptions.history import HistoryEntry
from subscriptions.models import (
    ApiKey,
    Endpoint,
    EventType,
    SigningSecret,
    Subscriber,
    Subscription,
)
from tests.conftest import MakeEndpoint

pytestmark = pytest.mark.django_db

MODELS = [
    *[Subscriber, Endpoint, Subscription, EventType, ApiKey, HistoryEntry],
    *[Event, Delivery, DeadLetter, Replay],
]
LINK = re.compile(r'href="(/admin/(?:subscriptions|deliveries)/[^"?]*)')


@pytest.fixture
def delivery(make_endpoint: MakeEndpoint) -> Delivery:
    make_endpoint(url="https://example.com/hook")
    EventType.objects.create(name="invoice.paid")
    event = emit("invoice.paid", {})
    return Delivery.objects.get(event=event)


def logged_in(client: Client, group: str) -> Client:
    user = User.objects.create_user("somebody", is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client.force_login(user)
    return client


@pytest.mark.parametrize("group", [VIEWERS, OPERATORS])
def test_every_page_that_is_linked_to_opens_and_none_shows_a_secret(
    client: Client, group: str, delivery: Delivery
) -> None:
    logged_in(client, group)
    secret = SigningSecret.objects.get().reveal()
    seen: set[str] = set()
    todo = {"/admin/"}
    while todo:
        page = todo.pop()
        seen.add(page)
        response = client.get(page)
        assert response.status_code == 200, page
        text = response.content.decode()
        assert str(secret) not in text
        todo |= set(LINK.findall(text)) - seen
    assert reverse("admin:deliveries_delivery_change", args=[quote(delivery.pk)]) in seen
    assert not any(page.endswith(("/add/", "/delete/")) for page in seen)


@pytest.mark.parametrize("model", MODELS)
def test_a_viewer_is_offered_no_action(client: Client, model: type, delivery: Delivery) -> None:
    name = f"{model._meta.app_label}_{model._meta.model_name}"  # type: ignore[attr-defined]
    page = logged_in(client, VIEWERS).get(reverse(f"admin:{name}_changelist"))
    assert 'name="action"' not in page.content.decode()


@pytest.mark.parametrize(
    ("model", "action"),
    [
        (Endpoint, "pause"),
        (Endpoint, "rotate_secret"),
        (Endpoint, "reveal_secret"),
        (Endpoint, "expire_secrets"),
        (Endpoint, "delete_for_good"),
        (Delivery, "discard"),
    ],
)
def test_an_action_that_a_viewer_forges_does_nothing(
    client: Client, model: type[Endpoint | Delivery], action: str, delivery: Delivery
) -> None:
    row = model.objects.get()
    secrets = set(SigningSecret.objects.values_list("pk", flat=True))
    name = f"{model._meta.app_label}_{model._meta.model_name}"
    forged = {"action": action, "_selected_action": [row.pk], "confirmed": "yes"}
    response = logged_in(client, VIEWERS).post(reverse(f"admin:{name}_changelist"), forged)
    assert response.status_code in (200, 302, 403)
    assert "whsec_" not in response.content.decode()
    state = row.state
    row.refresh_from_db()
    assert row.state == state
    assert set(SigningSecret.objects.values_list("pk", flat=True)) == secrets


def test_an_operator_pauses_and_discards_but_has_no_secrets(
    client: Client, delivery: Delivery
) -> None:
    logged_in(client, OPERATORS)
    endpoint = Endpoint.objects.get()
    endpoints = reverse("admin:subscriptions_endpoint_changelist")
    deliveries = reverse("admin:deliveries_delivery_changelist")
    client.post(
        deliveries, {"action": "discard", "_selected_action": [delivery.pk], "confirmed": "yes"}
    )
    client.post(
        endpoints, {"action": "pause", "_selected_action": [endpoint.pk], "confirmed": "yes"}
    )
    delivery.refresh_from_db()
    endpoint.refresh_from_db()
    assert (delivery.state, endpoint.state) == ("discarded", "paused")
    for action in ("reveal_secret", "rotate_secret", "expire_secrets", "delete_for_good"):
        page = client.post(
            endpoints, {"action": action, "_selected_action": [endpoint.pk], "confirmed": "yes"}
        )
        assert "whsec_" not in page.content.decode()
    endpoint.refresh_from_db()
    assert endpoint.state == "paused"
    assert SigningSecret.objects.count() == 1


def test_a_migration_gives_a_group_what_it_lacks_and_takes_nothing_from_it() -> None:
    group = Group.objects.get(name=VIEWERS)
    views = set(group.permissions.values_list("codename", flat=True))
    group.permissions.set([Permission.objects.get(codename="reveal_signingsecret")])
    call_command("migrate", verbosity=0)
    after = set(group.permissions.values_list("codename", flat=True))
    assert after == {*views, "reveal_signingsecret"}
