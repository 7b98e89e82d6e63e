"""Real input: webhook payloads as GitHub sends them, through the whole system."""

import io
import json
from pathlib import Path

import pytest
from django.core.management import call_command
from standardwebhooks import Webhook

from deliveries.models import Delivery
from subscriptions.models import SigningSecret
from tests.conftest import MakeEndpoint
from tests.processes import ROOT, Process, wait_until
from tests.receiver import Receiver

EVENTS = ROOT.parent / "shared" / "data" / "github_events.jsonl"

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not EVENTS.exists(), reason="the recorded GitHub events are not here"),
]


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_receiver_gets_byte_for_byte_what_was_emitted(
    worker: Process, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    everything = make_endpoint("github.*", url=receiver.url("/everything"))
    pulls = make_endpoint("github.pull_request.*", url=receiver.url("/pulls"))
    expected = read(EVENTS)
    expected_pulls = [
        one for one in expected if str(one["type"]).startswith("github.pull_request.")
    ]
    assert len(expected) > 200
    assert len(expected_pulls) > 10

    call_command("emit", str(EVENTS), stdout=io.StringIO())
    total = len(expected) + len(expected_pulls)
    receiver.wait_for(total)
    wait_until(lambda: Delivery.objects.filter(state="delivered").count() == total, "the records")
    assert len(receiver.received) == total

    for endpoint, path, events in (
        (everything, "/everything", expected),
        (pulls, "/pulls", expected_pulls),
    ):
        secret = Webhook(SigningSecret.objects.get(endpoint=endpoint).reveal())
        got = []
        for request in receiver.received:
            if request.path == path:
                message = secret.verify(request.body, request.headers)
                got.append({"type": message["type"], "data": message["data"]})
                # Not only equal when parsed: the very text of the data, as emit() encoded it.
                text = json.dumps(message["data"], separators=(",", ":"), ensure_ascii=False)
                assert request.body.endswith(text.encode() + b"}")
        by_text = sorted(json.dumps(one, sort_keys=True) for one in got)
        assert by_text == sorted(json.dumps(one, sort_keys=True) for one in events)
