"""What docs/registering.md teaches is so: its commands have the answers that it says."""

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from deliveries import handshakes, plain_lane
from deliveries.conf import DeliverySettings
from deliveries.emit import emit
from deliveries.feed import MAX_PAGE_BYTES
from deliveries.testing import TIMEOUT
from subscriptions.models import ApiKey, Endpoint
from tests.config.pages import blocks, curl, fits, page, section
from tests.receiver import Answer, Received, Receiver

pytestmark = pytest.mark.django_db

PAGE = page("registering.md")
OURS = "https://example.com/"


class Shell:
    """Runs the page's commands, and keeps what its variables stand for."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        _, key = ApiKey.objects.create_key(name="registration")
        self.variables = {"KEY": key, "SUBSCRIBER": "", "ENDPOINT": "", "CURSOR": ""}

    def run(self, command: str, said: str) -> Any:
        here = self.receiver.url("/")
        response = curl(APIClient(), command.replace(OURS, here), **self.variables)
        assert response.status_code in (200, 201), response.content
        got = response.json()
        assert fits(json.loads(said.replace(OURS, here)), got), got
        row = got.get("id", "")
        for name, prefix in (("SUBSCRIBER", "sub_"), ("ENDPOINT", "ep_")):
            if row.startswith(prefix):
                self.variables[name] = row
        self.variables["CURSOR"] = got.get("cursor", "")
        return got


@pytest.fixture
def shell(receiver: Receiver) -> Shell:
    def answer(request: Received, _: int) -> Answer:
        data = json.loads(request.body)["data"]
        return Answer(body=data["challenge"].encode() if "challenge" in data else b"ok")

    receiver.answers["/webhooks"] = receiver.answers["/hooks"] = answer
    return Shell(receiver)


def commands(title: str) -> list[tuple[str, str]]:
    """The curl commands of a section, each with the answer that follows it."""
    examples = blocks(section(PAGE, title), "sh", "json")
    return [pair for pair in pairwise(examples) if pair[0][:4] == "curl"]


@pytest.fixture
def registered(shell: Shell) -> Shell:
    """A subscriber and an endpoint, added as the page's first section says."""
    for command in commands("A subscriber and its endpoint"):
        shell.run(*command)
    return shell


def test_a_url_that_is_there_is_warned_of_as_the_page_says(registered: Shell) -> None:
    command, _said = commands("A subscriber and its endpoint")[1]
    [warning] = registered.run(command, "{}")["warnings"]
    assert registered.variables["ENDPOINT"] not in warning


def test_the_test_event_is_shown_as_on_the_page(registered: Shell, receiver: Receiver) -> None:
    [command] = commands("Try it: a test event")
    shown = registered.run(*command)
    said = json.loads(command[1])
    assert set(shown["request"]["headers"]) == set(said["request"]["headers"])
    assert shown["request"]["headers"]["webhook-id"] == receiver.received[0].id
    assert TIMEOUT == 10


def test_the_handshake_goes_as_on_the_page(registered: Shell, receiver: Receiver) -> None:
    added, shown = commands("Make sure that it is theirs: the handshake")
    endpoint = registered.run(*added)["id"]
    handshakes.shake(endpoint, plain_lane.start, lambda: None)
    registered.run(*shown)
    [said] = [json.loads(one) for one in blocks(PAGE, "json") if '"angarium.handshake"' in one]
    challenge = json.loads(receiver.received[0].body)
    assert fits(said, challenge)
    assert set(challenge) == set(said)


def test_the_waits_are_those_of_the_page() -> None:
    [said] = re.findall(r"challenged again after (.*?)\.", PAGE)
    seconds = {"s": 1, "min": 60, "h": 3600}
    waits = [int(number) * seconds[unit] for number, unit in re.findall(r"(\d+) (s|min|h)", said)]
    assert waits == list(handshakes.WAITS)


def test_the_feed_is_fetched_as_on_the_page(registered: Shell) -> None:
    added, first, next_page = commands("Fetched instead of sent: the feed")
    registered.run(*added)
    assert Endpoint.objects.get(state="feed").url == ""
    emit("invoice.paid", {"invoice": "in_42", "amount": 1200})
    registered.run(*first)
    registered.run(*next_page)
    assert MAX_PAGE_BYTES == 4 * 1024**2


def test_the_subscriber_s_own_key_fetches_its_feed_and_nothing_else(
    registered: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    added, first, _ = commands("Fetched instead of sent: the feed")
    registered.run(*added)
    [words] = re.findall(r"manage.py (create_api_key carpets .*)", PAGE)
    call_command(*words.replace("$SUBSCRIBER", registered.variables["SUBSCRIBER"]).split())
    registered.variables["KEY"] = capsys.readouterr().out.strip()
    registered.run(first[0], '{"items": []}')
    refused = curl(APIClient(), added[0], **registered.variables)
    assert refused.status_code == 403


def test_the_settings_that_the_page_names_are_there() -> None:
    names = set(re.findall(r"ANGARIUM_(\w+)", PAGE)) - {"REQUIRE_HANDSHAKE"}
    assert names == {"EVENT_RETENTION", "HELD_RETENTION"}
    assert all(hasattr(DeliverySettings(), name.lower()) for name in names)
