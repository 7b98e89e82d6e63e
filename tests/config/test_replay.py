"""What docs/replay.md teaches is so: its commands run, and its table names what there is."""

import json

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from deliveries.api.replays import NewReplaySerializer
from deliveries.emit import emit
from deliveries.models import Delivery, Replay
from tests.api_client import api as api
from tests.config.pages import blocks, curl, fits, page, section, table
from tests.conftest import MakeEndpoint

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("queue")]

PAGE = page("replay.md")


def test_the_page_s_commands_do_what_it_says(api: APIClient, make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint("*")
    for event_type in ("invoice.paid", "invoice.sent", "order.paid"):
        emit(event_type, {})
    Delivery.objects.update(state="delivered", ended_at=timezone.now())
    count, start, steer = blocks(PAGE, "sh")
    counted, started = map(json.loads, blocks(PAGE, "json"))
    asked = {"KEY": "", "ENDPOINT": endpoint.pk}
    answer = curl(api, count, **asked)
    assert (answer.status_code, answer.json()) == (200, counted)
    answer = curl(api, start, **asked)
    assert answer.status_code == 201
    assert fits(started, answer.json())
    replay = Replay.objects.get()
    states = [
        curl(api, line, KEY="", REPLAY=replay.pk).json()["state"] for line in steer.splitlines()
    ]
    assert states == ["running", "paused", "running", "cancelled"]


def test_the_table_of_fields_is_whole() -> None:
    fields = [name for name, *_ in table(section(PAGE, "Then start"))]
    assert fields == list(NewReplaySerializer().fields)


def test_the_table_of_kinds_is_whole() -> None:
    assert [kind for kind, _ in table(PAGE.split("\n## ")[0])] == Replay.Kind.values
