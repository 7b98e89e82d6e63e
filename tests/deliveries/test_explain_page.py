"""The page that explains what became of an event, in the admin, and the command that does."""

import io
import re
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from deliveries.emit import emit
from deliveries.models import Delivery
from subscriptions.models import Endpoint, Feed, Subscription
from tests.conftest import MakeEndpoint, Queue
from tests.deliveries.conftest import MakeDelivery
from tests.deliveries.test_admin import HOSTILE, attempt
from tests.deliveries.test_operations import ALL_STATES, in_state
from tests.subscriptions.test_admin import page_of

pytestmark = pytest.mark.django_db

UNKNOWN = "0" * 32


@pytest.fixture(autouse=True)
def empty_queue(queue: Queue) -> None:
    pass


def explain_url(event: str) -> str:
    return reverse("admin:deliveries_event_explain", args=[quote(event)])


def explained(client: Client, delivery: Delivery) -> str:
    answer = client.get(explain_url(delivery.event_id), {"endpoint": delivery.endpoint_id})
    assert answer.status_code == 200
    return answer.content.decode()


def words(page: str) -> str:
    """What a person reads of it."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


class TestPage:
    @pytest.mark.parametrize("state", ALL_STATES)
    def test_it_tells_how_it_stands_whatever_the_state(
        self, admin_client: Client, make_delivery: MakeDelivery, state: str
    ) -> None:
        page = explained(admin_client, in_state(make_delivery, state))
        assert re.search(f'<span class="mark [a-z]+">{state}</span>', page)
        for heading in ("How it stands", "What happens next", "Who asked for it", "What happened"):
            assert heading in page

    def test_an_attempt_is_shown_with_the_time_of_each_of_its_steps(
        self, admin_client: Client, make_delivery: MakeDelivery
    ) -> None:
        delivery = in_state(make_delivery, "waiting")
        attempt(delivery, dns_ms=1, connect_ms=2, tls_ms=3, first_byte_ms=4, duration_ms=12)
        page = words(explained(admin_client, delivery))
        assert "DNS 1 ms connect 2 ms TLS 3 ms first byte 4 ms total 12 ms" in page

    def test_a_miss_says_by_which_rule(
        self, admin_client: Client, make_endpoint: MakeEndpoint
    ) -> None:
        endpoint = make_endpoint("other.*")
        event = emit("made.once", {})
        page = admin_client.get(explain_url(event.pk), {"endpoint": endpoint.pk}).content.decode()
        assert "There is no delivery." in page
        assert "The pattern does not match the type of the event." in page

    def test_what_comes_from_outside_is_escaped_and_nothing_in_it_is_hidden(
        self, admin_client: Client, make_delivery: MakeDelivery
    ) -> None:
        delivery = in_state(make_delivery, "waiting")
        attempt(delivery, error=f"{HOSTILE}\N{RIGHT-TO-LEFT OVERRIDE}", response_body=HOSTILE)
        Subscription.objects.create(endpoint=delivery.endpoint, pattern="*", filter=HOSTILE)
        page = explained(admin_client, delivery)
        assert HOSTILE not in page
        assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in page

    def test_it_needs_neither_script_nor_style_of_its_own(
        self, admin_client: Client, make_delivery: MakeDelivery
    ) -> None:
        page = explained(admin_client, in_state(make_delivery, "dead"))
        assert not re.search(r"<style|\bstyle=|\son\w+=", page)
        assert not re.search(r"<script(?![^>]*\b(src|id)=)", page)

    def test_it_is_one_click_from_the_event_the_delivery_and_the_dead_letter(
        self, admin_client: Client, make_delivery: MakeDelivery
    ) -> None:
        dead = in_state(make_delivery, "dead")
        link = f'href="{explain_url(dead.event_id)}?endpoint={dead.endpoint_id}"'
        for row in (dead.event, dead, dead.dead_letters.get()):
            assert link in admin_client.get(page_of(row)).content.decode()
        event_page = admin_client.get(page_of(dead.event)).content.decode()
        assert f'href="{explain_url(dead.event_id)}"' in event_page

    def test_without_an_endpoint_it_asks_for_one(
        self, admin_client: Client, make_delivery: MakeDelivery
    ) -> None:
        page = admin_client.get(explain_url(make_delivery().event_id)).content.decode()
        assert "For which endpoint?" in page
        assert "How it stands" not in page

    @pytest.mark.parametrize("endpoint", ["", "nonsense", f"ep_{UNKNOWN}"])
    def test_an_endpoint_that_is_none_is_said_to_be_none(
        self, admin_client: Client, make_delivery: MakeDelivery, endpoint: str
    ) -> None:
        answer = admin_client.get(explain_url(make_delivery().event_id), {"endpoint": endpoint})
        assert answer.status_code == 200
        assert "There is no such endpoint." in answer.content.decode()

    @pytest.mark.parametrize("event", [f"evt_{UNKNOWN}", "nonsense"])
    def test_an_event_that_is_none_is_not_found(self, admin_client: Client, event: str) -> None:
        assert admin_client.get(explain_url(event)).status_code == 404

    @pytest.mark.parametrize("missing", ["view_event", "view_delivery", "view_endpoint"])
    def test_whoever_may_not_see_one_of_the_three_may_not_see_it(
        self, make_delivery: MakeDelivery, missing: str
    ) -> None:
        user = User.objects.create_user("somebody", is_staff=True, last_login=timezone.now())
        needed = {"view_event", "view_delivery", "view_endpoint"}
        client = Client()
        client.force_login(user)
        delivery = make_delivery()
        query = {"endpoint": delivery.endpoint_id}
        user.user_permissions.set(Permission.objects.filter(codename__in=needed - {missing}))
        assert client.get(explain_url(delivery.event_id), query).status_code == 403
        user.user_permissions.set(Permission.objects.filter(codename__in=needed))
        assert client.get(explain_url(delivery.event_id), query).status_code == 200

    def test_a_feed_is_called_one(self, admin_client: Client, make_endpoint: MakeEndpoint) -> None:
        feed = Feed.objects.open(make_endpoint().subscriber)
        Subscription.objects.create(endpoint=feed, pattern="*")
        delivery = emit("made.once", {}).deliveries.get(endpoint=feed)
        page = words(explained(admin_client, delivery))
        assert "made.once to a feed" in page
        assert "It has not been fetched from its feed." in page


class TestCommand:
    def run(self, *arguments: str) -> str:
        out = io.StringIO()
        call_command("explain", *arguments, no_color=True, stdout=out)
        return out.getvalue()

    def test_a_delivery_and_its_event_and_endpoint_say_the_same(
        self, make_delivery: MakeDelivery
    ) -> None:
        delivery = in_state(make_delivery, "waiting")
        attempt(delivery, dns_ms=1, error="answered 503 Service Unavailable")
        told = self.run(delivery.pk)
        assert told == self.run(delivery.event_id, delivery.endpoint_id)
        assert "made.once" in told
        assert "Attempt 1: answered 503 Service Unavailable." in told
        assert "DNS 1 ms, total 12 ms" in told
        assert "What happens next" in told

    def test_a_miss_says_what_each_subscription_asks_for(self, make_endpoint: MakeEndpoint) -> None:
        endpoint = make_endpoint("other.*", "more.*")
        told = self.run(emit("made.once", {}).pk, endpoint.pk)
        assert "None of the endpoint's 2 subscriptions asks for the event." in told
        assert "“more.*”: The pattern does not match the type of the event." in told

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([f"dlv_{UNKNOWN}"], "may be past its retention"),
            ([f"evt_{UNKNOWN}", f"ep_{UNKNOWN}"], "may be past its retention"),
            ([f"evt_{UNKNOWN}"], "Name the endpoint too"),
            (["nonsense", f"ep_{UNKNOWN}"], "is not an id of this kind"),
        ],
    )
    def test_what_is_not_there_is_said(self, arguments: list[Any], message: str) -> None:
        with pytest.raises(CommandError, match=message):
            self.run(*arguments)

    def test_an_endpoint_that_is_deleted_is_still_explained(
        self, make_endpoint: MakeEndpoint
    ) -> None:
        endpoint = make_endpoint("made.*")
        delivery = emit("made.once", {}).deliveries.get()
        endpoint.delete_for_good()
        assert Endpoint.objects.get().state == "deleted"
        assert "The endpoint endpoint" not in self.run(delivery.pk)
        assert "deleted" in self.run(delivery.pk)
