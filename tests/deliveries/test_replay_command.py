import io
import re
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from deliveries import replays
from deliveries.management.commands.replay import Command
from deliveries.models import Delivery, Replay
from subscriptions.models import Endpoint, Feed, Subscription
from tests.deliveries.conftest import MakeDelivery, states
from tests.deliveries.test_operations import in_state

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("queue")]


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("replay", *arguments, no_color=True, stdout=out)
    return out.getvalue()


@pytest.fixture
def delivered(make_delivery: MakeDelivery) -> Delivery:
    delivery = in_state(make_delivery, "delivered")
    Endpoint.objects.update(created_at=timezone.now() - timedelta(days=2))
    return delivery


def test_one_is_started_by_what_is_said(delivered: Delivery) -> None:
    pk = run(
        *["start", delivered.endpoint_id, "--pattern", "made.*", "--state", "dead"],
        *["--rate", "5", "--since", "2026-03-01T08:00Z"],
    ).strip()
    replay = Replay.objects.get(pk=pk)
    assert (replay.kind, replay.pattern, replay.states, replay.rate) == (
        "again",
        "made.*",
        ["dead"],
        5,
    )
    assert replay.since is not None
    assert replay.since.isoformat() == "2026-03-01T08:00:00+00:00"


def test_a_dry_run_counts_and_changes_nothing(delivered: Delivery) -> None:
    start = ["start", delivered.endpoint_id, "--dry-run"]
    assert run(*start) == "would be sent: 1\n"
    assert run(*start, "--missed") == "would be sent: 0\n"
    Delivery.objects.all().delete()
    Subscription.objects.create(endpoint=delivered.endpoint, pattern="made.*")
    yesterday = timezone.now() - timedelta(days=1)
    assert run(*start, "--missed", "--since", f"{yesterday:%Y-%m-%d}") == "would be sent: 1\n"
    assert not Replay.objects.exists()


def test_they_are_listed_paused_resumed_and_cancelled(delivered: Delivery) -> None:
    pk = run("start", delivered.endpoint_id).strip()
    for do, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        run(do, pk)
        assert re.search(f"{pk} +{state}", run("list"))
        with pytest.raises(CommandError, match=f"It is {state}"):
            run(do, pk)
    assert states() == {delivered.pk: "delivered"}


def test_the_list_says_how_far_each_has_come(delivered: Delivery) -> None:
    pk = run("start", delivered.endpoint_id).strip()
    while replays.step(pk) is not None:
        pass
    assert "100%" in run("list")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["start"], "Say which endpoint"),
        (["pause"], "Say which replay"),
        (["start", "nonsense"], "is not an id"),
        (["start", f"ep_{'0' * 32}"], "There is no endpoint"),
        (["cancel", f"rpl_{'0' * 32}"], "There is no replay"),
        (["cancel", "nonsense"], "is not an id"),
    ],
)
def test_whoever_is_not_clear_is_told_so(db: None, arguments: list[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        run(*arguments)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--since", "yesterday"], "is no time"),
        (["--since", "2999-01-01"], "begin before it ends"),
        (["--pattern", "a*"], "Use an event type"),
        (["--rate", "0"], "greater than or equal to 1"),
        (["--missed", "--state", "dead"], "has not ended"),
    ],
)
def test_what_makes_no_sense_is_refused(delivered: Delivery, options: list[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        run("start", delivered.endpoint_id, *options)
    assert not Replay.objects.exists()


def test_a_feed_and_a_second_one_are_refused_with_what_to_do(delivered: Delivery) -> None:
    with pytest.raises(CommandError, match="earlier cursor"):
        run("start", Feed.objects.open(delivered.endpoint.subscriber).pk)
    run("start", delivered.endpoint_id)
    with pytest.raises(CommandError, match="cancel it"):
        run("start", delivered.endpoint_id)


def test_its_help_teaches_with_examples() -> None:
    text = Command().create_parser("manage.py", "replay").format_help()
    assert "manage.py replay start ep_019b… --missed" in text
    assert "webhook-id" in text
