"""What docs/emitting.md teaches is so: its examples run."""

import json
import re
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from deliveries import emit as emitting
from deliveries.conf import DeliverySettings
from deliveries.models import Event
from subscriptions import event_types
from subscriptions.api.parsing import MAX_BODY_BYTES
from subscriptions.models import ApiKey, Subscriber
from tests.config.pages import blocks, curl, fits, page, section, table
from tests.conftest import MakeEndpoint
from webhooks import payloads

pytestmark = pytest.mark.django_db

PAGE = page("emitting.md")


@dataclass
class Invoice:
    number: str = "in_7"
    amount: int = 1200
    paid: bool = False

    def mark_paid(self) -> None:
        self.paid = True


@pytest.fixture
def names(subscriber: Subscriber) -> dict[str, Any]:
    """What the page's Python has around it; the examples follow each other in one program."""
    return {"invoice": Invoice(), "customer": SimpleNamespace(subscriber_id=subscriber.pk)}


@pytest.fixture
def program(names: dict[str, Any]) -> dict[str, Any]:
    """The names that the page's Python leaves, once it has run."""
    for code in blocks(PAGE, "python"):
        exec(compile(code, "docs/emitting.md", "exec"), names)
    return names


def event_of(invoice: str) -> Event:
    return Event.objects.get(payload__contains=f'"{invoice}"')


def test_the_python_runs_and_does_what_the_page_says(
    make_endpoint: MakeEndpoint, subscriber: Subscriber, program: dict[str, Any]
) -> None:
    assert program["invoice"].paid
    assert program["event"].type == "invoice.paid"
    assert event_of("in_7").data == {"invoice": "in_7", "amount": 1200}
    assert event_of("in_43").subscriber == subscriber
    assert (event_of("in_49").channels, event_of("in_49").ordering_key) == (["eu"], "customer-17")
    assert event_of("in_44").idempotency_key == "paid-in_44"
    assert event_of("in_45").occurred_at == datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(("call", "error"), table(section(PAGE, "What is refused")))
def test_what_the_page_says_is_refused_is(program: dict[str, Any], call: str, error: str) -> None:
    before = Event.objects.count()
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        eval(call, program)
    assert type(refused.value).__name__ == error
    homes = (event_types, payloads, emitting)
    assert any(getattr(home, error, None) is type(refused.value) for home in homes)
    assert Event.objects.count() == before


def test_the_curl_command_emits_once(make_endpoint: MakeEndpoint) -> None:
    make_endpoint("invoice.*")
    _, key = ApiKey.objects.create_key(name="billing", scopes=["emit"])
    over_http = section(PAGE, "Over HTTP")
    [command], [said] = blocks(over_http, "sh"), blocks(over_http, "json")
    answers = [curl(APIClient(), command, KEY=key) for _ in range(2)]
    assert [one.status_code for one in answers] == [201, 200]
    assert all(fits(json.loads(said), one.json()) for one in answers)
    other = curl(APIClient(), command.replace("1200", "1300"), KEY=key)
    assert other.status_code == 422


def test_the_file_is_emitted(tmp_path: Path) -> None:
    [line] = blocks(section(PAGE, "From a file"), "json")
    file = tmp_path / "events.jsonl"
    file.write_text(line)
    call_command("emit", str(file))
    assert event_of("in_48").idempotency_key == "paid-in_48"


def test_the_limits_are_those_of_the_code() -> None:
    defaults = {field.name.upper(): field.default for field in fields(DeliverySettings)}
    limits = section(PAGE, "Limits")
    for name, value in re.findall(r"`ANGARIUM_(\w+)`: (\d+)", limits):
        assert defaults[name] == int(value), name
    assert f"{payloads.MAX_DEPTH} levels" in limits
    assert f"{event_types.MAX_LENGTH} characters" in limits
    assert f"{emitting.MAX_KEY} printable" in limits
    assert MAX_BODY_BYTES == 1024**2
    assert "1 MiB" in PAGE
