import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from deliveries.models import Delivery, Event
from subscriptions.models import Subscriber
from tests.conftest import Configure, MakeEndpoint, Queue

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.django_db


@dataclass
class Result:
    code: object
    out: str
    err: str


Emit = Callable[..., Result]


@pytest.fixture
def emit(tmp_path: Path) -> Emit:
    """Write lines into a file and emit it."""

    def run(
        *lines: str | bytes, options: tuple[str, ...] = (), err: io.StringIO | None = None
    ) -> Result:
        file = tmp_path / "events.jsonl"
        file.write_bytes(b"\n".join(as_bytes(line) for line in lines))
        return call(str(file), *options, err=err)

    return run


def call(*arguments: str, err: io.StringIO | None = None) -> Result:
    out, err = io.StringIO(), err or io.StringIO()
    code: object = 0
    try:
        call_command("emit", *arguments, stdout=out, stderr=err)
    except SystemExit as end:
        code = end.code
    return Result(code, out.getvalue(), err.getvalue())


def as_bytes(line: str | bytes) -> bytes:
    return line if isinstance(line, bytes) else line.encode()


def line(type: str = "invoice.paid", data: Any = None, **fields: Any) -> str:
    return json.dumps({"type": type, "data": data, **fields})


def test_a_line_s_channels_are_the_event_s(emit: Emit) -> None:
    assert emit(line(channels=["eu"])).code == 0
    assert Event.objects.get().channels == ["eu"]
    assert "'a b' is not a channel" in emit(line(channels=["a b"])).err


def test_a_line_s_ordering_key_is_the_event_s(emit: Emit) -> None:
    assert emit(line(ordering_key="order-42")).code == 0
    assert Event.objects.get().ordering_key == "order-42"
    assert "ordering_key must have" in emit(line(ordering_key="")).err


def test_every_line_is_emitted(emit: Emit, make_endpoint: MakeEndpoint) -> None:
    make_endpoint("invoice.*")
    make_endpoint("*")
    result = emit(
        line("invoice.paid", {"amount": 100, "city": "اصفهان"}, occurred_at="2026-01-31T12:00:00Z"),
        "",
        line("user.created", [1.5, None]),
    )
    assert result == Result(0, "emitted 2 events, 3 deliveries\n", "")
    first, second = Event.objects.order_by("id")
    assert (first.type, first.data) == ("invoice.paid", {"amount": 100, "city": "اصفهان"})
    assert first.occurred_at.isoformat() == "2026-01-31T12:00:00+00:00"
    assert (second.type, second.data) == ("user.created", [1.5, None])
    assert Delivery.objects.count() == 3


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{nonsense", "It is not JSON"),
        ("[]", "It is not a JSON object"),
        (b"\xff\xfe", "It is not UTF-8"),
        (line(color="red"), "The key 'color' is unknown"),
        ('{"type": "invoice.paid"}', "It has no 'data'"),
        (line("invoice paid"), "'invoice paid' is not an event type"),
        (line(data=float("nan")), ""),
        (line(data="\ud800"), ""),
        (line(data="x" * 300_000), ""),
        (line(data="x" * 2_000_000), "It is longer than 1,576,960 bytes"),
        (line(idempotency_key=""), "idempotency_key must have"),
        (line(ordering_key="a\nb"), "ordering_key must have"),
        (line(subscriber="abbas"), "is not an id"),
        (line(subscriber="ep_" + "0" * 32), "is not an id"),
        (line(subscriber="sub_" + "0" * 32), "There is no subscriber sub_0"),
        (line(occurred_at="9999-12-31T23:59:59-12:00"), "outside the years 1 to 9999"),
    ],
)
def test_a_bad_line_is_reported_by_its_number_and_the_others_are_emitted(
    emit: Emit, bad: str | bytes, reason: str
) -> None:
    result = emit(line(), "", bad, line())
    assert result.code == 1
    assert result.out == "emitted 2 events, 0 deliveries; 1 bad line\n"
    assert result.err.startswith("line 3: ")
    assert reason in result.err
    assert result.err.count("\n") == 1
    assert Event.objects.count() == 2


def test_lines_of_an_ordering_key_arrive_in_their_order(
    emit: Emit, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint(ordered=True)
    emit(line(data="made", ordering_key="order-1"), line(data="paid", ordering_key="order-1"))
    first, second = Delivery.objects.order_by("ordinal")
    assert (first.event.data, second.event.data) == ("made", "paid")
    assert {first.ordering_key, second.ordering_key} == {"order-1"}


def test_what_was_emitted_under_its_idempotency_key_before_is_not_emitted_again(
    emit: Emit, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint()
    keyed = line(idempotency_key="invoice-17")
    assert emit(keyed, keyed).out == "emitted 1 event, 1 delivery; 1 event emitted before\n"
    assert emit(keyed).out == "emitted 0 events, 0 deliveries; 1 event emitted before\n"
    conflict = emit(line(data="other", idempotency_key="invoice-17"))
    assert conflict.code == 1
    assert "'invoice-17' belongs to" in conflict.err


def test_an_event_for_many_endpoints_is_left_to_a_worker(
    emit: Emit, make_endpoint: MakeEndpoint, configure: Configure
) -> None:
    configure(FAN_OUT_INLINE_LIMIT=1)
    make_endpoint("*")
    make_endpoint("invoice.paid")
    assert emit(line("invoice.paid"), line("user.created")).out == (
        "emitted 2 events, 1 delivery; 1 event left to a worker to fan out\n"
    )


def test_a_subscriber_can_be_given_for_the_lines_that_name_none(
    emit: Emit, subscriber: Subscriber
) -> None:
    other = Subscriber.objects.create(name="Nader")
    emit(line("a"), line("b", subscriber=other.pk), options=("--subscriber", subscriber.pk))
    assert dict(Event.objects.values_list("type", "subscriber")) == {
        "a": subscriber.pk,
        "b": other.pk,
    }


def test_a_dry_run_says_what_would_be_emitted_and_writes_nothing(
    emit: Emit, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint()
    result = emit(line(), "nonsense", line(), options=("--dry-run",))
    assert result.code == 1
    assert result.out == "would emit 2 events, 2 deliveries; 1 bad line\n"
    assert result.err.startswith("line 2: ")
    assert not Event.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_each_line_is_committed_and_rung_for(
    emit: Emit, make_endpoint: MakeEndpoint, queue: Queue
) -> None:
    make_endpoint()
    emit(line(), "nonsense", line())
    assert queue.deliveries() == set(Delivery.objects.values_list("id", flat=True))


def test_a_bar_is_drawn_on_a_terminal_only(emit: Emit) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert emit(line()).err == ""
    drawn = emit(line(), "nonsense", err=Terminal()).err
    assert "100%" in drawn
    assert "line 2: It is not JSON" in drawn


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.jsonl"], "nowhere.jsonl: No such file or directory"),
        (["."], ".: Is a directory"),
        (["--subscriber", "abbas", os.devnull], "There is no subscriber 'abbas'"),
        (["--subscriber", "sub_" + "0" * 32, os.devnull], "There is no subscriber 'sub_0"),
    ],
)
def test_what_keeps_it_from_beginning_is_said(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError) as refusal:
        call(*arguments)
    assert message in str(refusal.value)
    assert refusal.value.returncode == 2


def test_it_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line().encode())))
    assert call("-") == Result(0, "emitted 1 event, 0 deliveries\n", "")


def test_without_a_database_it_says_so_in_plain_words() -> None:
    ended = subprocess.run(
        [sys.executable, "manage.py", "emit", "-"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": "postgresql://127.0.0.1:1/angarium"},
        input=line(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "The database failed: " in ended.stderr
    assert "Traceback" not in ended.stderr
