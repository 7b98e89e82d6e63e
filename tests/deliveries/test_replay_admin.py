import re
from datetime import timedelta

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from deliveries import replays
from deliveries.models import Delivery, Replay
from deliveries.roles import OPERATORS, VIEWERS
from subscriptions.history import HistoryEntry
from subscriptions.models import Endpoint, Feed, Subscriber
from tests.conftest import MakeEndpoint
from tests.deliveries.conftest import MakeDelivery, states
from tests.deliveries.test_operations import in_state
from tests.subscriptions.test_admin import GARBAGE, act, listed, page_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("queue")]

REPLAYS = reverse("admin:deliveries_replay_changelist")
FORM = {"kind": "again", "pattern": "*", "rate": "20"}


def page_of_start(endpoint: Endpoint) -> str:
    return reverse("admin:deliveries_replay_start", args=[quote(endpoint.pk)])


@pytest.fixture
def delivered(make_delivery: MakeDelivery) -> Delivery:
    delivery = in_state(make_delivery, "delivered")
    Endpoint.objects.update(created_at=timezone.now() - timedelta(seconds=1))
    return delivery


@pytest.fixture
def replay(delivered: Delivery) -> Replay:
    replay = Replay(endpoint=delivered.endpoint)
    replay.clean()
    replays.start(replay)
    return replay


def inputs(page: str) -> dict[str, str]:
    """The hidden fields of a page's form, but the one against forgery."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page)
    return {name: value for name, value in found if name != "csrfmiddlewaretoken"}


def test_an_endpoint_s_page_leads_to_the_form_which_counts_before_anything_is_sent(
    admin_client: Client, delivered: Delivery
) -> None:
    url = page_of_start(delivered.endpoint)
    assert url in admin_client.get(page_of(delivered.endpoint)).content.decode()
    assert admin_client.get(url).status_code == 200
    counted = admin_client.post(url, FORM).content.decode()
    assert "<strong>1</strong> would be sent, 20 a second at most" in counted
    assert not Replay.objects.exists()
    answer = admin_client.post(url, {**inputs(counted), "start": "Start"})
    replay = Replay.objects.get()
    assert answer["Location"] == page_of(replay)
    assert (replay.endpoint_id, replay.rate) == (delivered.endpoint_id, 20)
    entry = HistoryEntry.objects.get(kind="replay")
    assert (entry.actor_name, entry.action) == ("admin", "created")


def test_what_was_asked_for_is_kept_from_the_count_to_the_start(
    admin_client: Client, delivered: Delivery
) -> None:
    url = page_of_start(delivered.endpoint)
    since = timezone.now() - timedelta(days=2)
    said = {"since": f"{since:%Y-%m-%dT%H:%M}", "states": ["dead", "discarded"], **FORM}
    page = admin_client.post(url, said).content.decode()
    assert "<strong>0</strong>" in page
    hidden = re.findall(r'name="states" value="(\w+)"', page)
    admin_client.post(url, {**inputs(page), "states": hidden, "start": "Start"})
    replay = Replay.objects.get()
    assert replay.states == ["dead", "discarded"]
    assert replay.since == since.replace(second=0, microsecond=0)


@pytest.mark.parametrize(
    "said", [{"pattern": "a*"}, {"rate": "0"}, {"since": "2999-01-01T00:00"}, {"kind": "x"}]
)
def test_what_makes_no_sense_is_shown_where_it_was_said(
    admin_client: Client, delivered: Delivery, said: dict[str, str]
) -> None:
    page = admin_client.post(page_of_start(delivered.endpoint), {**FORM, **said, "start": "x"})
    assert list(page.context["form"].errors) == list(said)
    assert not Replay.objects.exists()


def test_a_second_one_is_refused(admin_client: Client, replay: Replay) -> None:
    page = admin_client.post(page_of_start(replay.endpoint), {**FORM, "start": "Start"})
    assert "has a replay under way" in page.content.decode()
    assert Replay.objects.count() == 1


def test_a_feed_a_deleted_endpoint_and_none_have_no_such_page(
    admin_client: Client, make_endpoint: MakeEndpoint, subscriber: Subscriber
) -> None:
    feed, gone = Feed.objects.open(subscriber), make_endpoint()
    gone.delete_for_good()
    for endpoint in (feed, gone, Endpoint(pk=f"ep_{'0' * 32}"), Endpoint(pk="nonsense")):
        assert admin_client.get(page_of_start(endpoint)).status_code == 404
    assert page_of_start(feed) not in admin_client.get(page_of(feed)).content.decode()


def test_the_list_says_how_each_fares(admin_client: Client, replay: Replay) -> None:
    page = admin_client.get(REPLAYS).content.decode()
    for words in (">running<", ">0%<", replay.endpoint.url):
        assert words in page
    while replays.step(replay.pk) is not None:
        pass
    page = admin_client.get(REPLAYS).content.decode()
    for words in (">finished<", ">100%<"):
        assert words in page


def test_one_that_waits_for_its_endpoint_says_so(admin_client: Client, replay: Replay) -> None:
    Endpoint.objects.update(state="paused")
    assert ">waits<" in admin_client.get(REPLAYS).content.decode()
    assert "Its endpoint is paused" in admin_client.get(page_of(replay)).content.decode()


def test_it_is_paused_resumed_and_cancelled_by_the_buttons_of_its_page(
    admin_client: Client, replay: Replay
) -> None:
    for action, done in (("pause", "paused"), ("resume", "resumed"), ("cancel", "cancelled")):
        page = admin_client.get(page_of(replay)).content.decode()
        assert f'<button name="action" value="{action}">' in page
        assert f"1 of 1 replay {done}" in act(admin_client, REPLAYS, action, replay)
        assert f"0 of 1 replay {done}" in act(admin_client, REPLAYS, action, replay)
    assert Replay.objects.get().state == "cancelled"
    history = admin_client.get(page_of(replay).replace("/change/", "/history/")).content.decode()
    assert "state: paused → running" in history


def test_it_is_found_by_its_id_its_endpoint_s_and_its_subscriber_s(
    admin_client: Client, replay: Replay
) -> None:
    for row_id in (replay.pk, replay.endpoint_id, replay.endpoint.subscriber_id):
        assert listed(admin_client, REPLAYS, q=row_id) == [replay]
    for garbage in GARBAGE:
        assert listed(admin_client, REPLAYS, q=garbage) == []


@pytest.mark.parametrize(("group", "may"), [(VIEWERS, False), (OPERATORS, True)])
def test_operators_start_and_steer_replays_and_viewers_look(
    client: Client, delivered: Delivery, group: str, may: bool
) -> None:
    user = User.objects.create_user("somebody", is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client.force_login(user)
    url = page_of_start(delivered.endpoint)
    assert (url in client.get(page_of(delivered.endpoint)).content.decode()) == may
    for method in (client.get, client.post):
        assert method(url).status_code == (200 if may else 403)
    client.post(url, {**FORM, "start": "Start"})
    assert Replay.objects.exists() == may
    if not may:
        replay = Replay(endpoint=delivered.endpoint)
        replay.clean()
        replays.start(replay)
    [replay] = Replay.objects.all()
    assert ('<button name="action"' in client.get(page_of(replay)).content.decode()) == may
    act(client, REPLAYS, "cancel", replay)
    assert (Replay.objects.get().state == "cancelled") == may
    assert states() == {delivered.pk: "delivered"}
