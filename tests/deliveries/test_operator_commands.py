import io
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from deliveries.models import DeadLetter, Delivery
from subscriptions.models import Endpoint, Subscriber
from tests.conftest import MakeEndpoint, Queue
from tests.deliveries.conftest import MakeDelivery, states
from tests.receiver import Answer, Receiver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("queue")]


def run(command: str, *arguments: str) -> str:
    out = io.StringIO()
    call_command(command, *arguments, no_color=True, stdout=out)
    return out.getvalue()


@pytest.fixture
def bury(make_delivery: MakeDelivery) -> Any:
    """A delivery that died so many hours ago."""

    def make(reason: str = "exhausted", hours: float = 0, error: str = "answered 500") -> Delivery:
        ended = timezone.now() - timedelta(hours=hours)
        delivery = make_delivery(state="dead", ended_at=ended)
        DeadLetter.objects.create(delivery=delivery, reason=reason, last_error=error, died_at=ended)
        return delivery

    return make


class TestStatus:
    def test_it_tells_what_is_under_way_dead_and_failing(
        self, make_delivery: MakeDelivery, bury: Any, queue: Queue
    ) -> None:
        soon = timezone.now() + timedelta(minutes=5)
        make_delivery(state="waiting", next_attempt_at=soon)
        make_delivery(state="held")
        dead = bury(hours=3)
        Endpoint.objects.filter(pk=dead.endpoint_id).update(
            failing_since=timezone.now() - timedelta(hours=4)
        )
        make_delivery()
        queue.purge()
        told = json.loads(run("status", "--json"))
        assert {state: some["count"] for state, some in told["deliveries"].items()} == {
            "pending": 1,
            "waiting": 1,
            "held": 1,
        }
        assert told["deliveries"]["waiting"]["earliest"] == str(soon)
        assert {reason: some["count"] for reason, some in told["dead_letters"].items()} == {
            "exhausted": 1
        }
        assert [one["id"] for one in told["failing"]] == [dead.endpoint_id]
        assert told["messages"] == 0

    @pytest.mark.parametrize("state", Delivery.State)
    def test_every_state_that_has_not_ended_is_counted_and_explained(
        self, make_delivery: MakeDelivery, state: str
    ) -> None:
        lead = make_delivery()
        now = timezone.now()
        columns: dict[str, Any] = {
            "sending": {"lease_expires_at": now},
            "waiting": {"next_attempt_at": now},
            "queued": {"ordering_key": "a", "ordinal": 1},
            "batched": {"lead": lead},
            "delivered": {"ended_at": now},
            "dead": {"ended_at": now},
            "discarded": {"ended_at": now},
        }
        make_delivery(state=state, **columns.get(state, {}))
        Delivery.objects.filter(pk=lead.pk).update(state="delivered", ended_at=now)
        shown = f" {state} " in run("status")
        assert shown == (state not in ("delivered", "dead", "discarded"))

    def test_it_speaks_json(self, make_delivery: MakeDelivery, queue: Queue) -> None:
        make_delivery()
        shown = json.loads(run("status", "--json"))
        assert shown["deliveries"]["pending"]["count"] == 1
        assert shown["messages"] == len(queue.messages())


class TestDeadLetters:
    def test_they_are_listed_by_endpoint_and_reason(self, bury: Any) -> None:
        first, second = bury(), bury("gone", error="answered 410")
        listed = run("dead_letters", "list")
        for word in (first.endpoint_id[:8], second.endpoint_id[:8], "exhausted", "gone"):
            assert word in listed

    @pytest.mark.parametrize(
        ("chosen", "left"),
        [
            (["--all"], []),
            (["--reason", "gone"], [0, 1]),
            (["--hours", "2"], [1]),
            (["--all", "--limit", "1"], [1, 2]),
            (["--hours", "2", "--reason", "exhausted"], [1, 2]),
        ],
    )
    def test_those_that_are_meant_are_redriven(
        self, bury: Any, chosen: list[str], left: list[int]
    ) -> None:
        dead = [bury(hours=1), bury(hours=3), bury("gone", hours=1)]
        assert run("dead_letters", "redrive", *chosen) == f"redriven: {3 - len(left)}\n"
        assert [dead.index(one) for one in dead if states()[one.pk] == "dead"] == left

    def test_those_of_one_endpoint_are_discarded(self, bury: Any) -> None:
        one, other = bury(), bury()
        assert run("dead_letters", "discard", "--endpoint", one.endpoint_id) == "discarded: 1\n"
        assert states() == {one.pk: "discarded", other.pk: "dead"}

    def test_a_dry_run_counts_and_changes_nothing(self, bury: Any) -> None:
        dead = bury()
        assert run("dead_letters", "redrive", "--all", "--dry-run") == "would be redriven: 1\n"
        assert states() == {dead.pk: "dead"}

    @pytest.mark.parametrize(
        ("option", "value"), [("--event-type", "made.once"), ("--subscriber", None)]
    )
    def test_they_are_chosen_by_what_they_have_in_common(
        self, bury: Any, subscriber: Subscriber, option: str, value: str | None
    ) -> None:
        bury()
        given = [option, value or subscriber.pk]
        assert run("dead_letters", "redrive", *given, "--dry-run") == "would be redriven: 1\n"
        none = [option, "made.twice" if value else "sub_" + "0" * 32]
        assert run("dead_letters", "redrive", *none, "--dry-run") == "would be redriven: 0\n"

    @pytest.mark.parametrize("limit", [2, 3, 100])
    def test_more_than_a_chunk_of_them_are_redriven_as_far_as_the_limit(
        self, bury: Any, monkeypatch: pytest.MonkeyPatch, limit: int
    ) -> None:
        monkeypatch.setattr("deliveries.exporting.PAGE", 2)
        for _ in range(5):
            bury()
        told = run("dead_letters", "redrive", "--all", "--limit", str(limit))
        assert told == f"redriven: {min(5, limit)}\n"

    def test_they_are_exported(self, bury: Any) -> None:
        dead = bury(error="=1+1")
        [line] = run("dead_letters", "export", "--all").splitlines()
        assert (json.loads(line)["delivery"], json.loads(line)["last_error"]) == (dead.pk, "=1+1")
        assert "'=1+1" in run("dead_letters", "export", "--all", "--format", "csv")

    @pytest.mark.parametrize("do", ["redrive", "discard", "export"])
    def test_nobody_does_that_to_all_by_mistake(self, bury: Any, do: str) -> None:
        dead = bury()
        with pytest.raises(CommandError, match="Say which are meant"):
            run("dead_letters", do)
        with pytest.raises(CommandError, match="is not an id"):
            run("dead_letters", do, "--endpoint", "nonsense")
        assert states() == {dead.pk: "dead"}


class TestSendTestEvent:
    def test_the_request_and_the_answer_are_shown(
        self, make_endpoint: MakeEndpoint, receiver: Receiver
    ) -> None:
        receiver.answers["/hook"] = lambda *_: Answer(201, b"thank you", {"X-Server": "Nginx 7"})
        said = run("send_test_event", make_endpoint(url=receiver.url()).pk)
        [request] = receiver.received
        assert f"> POST {receiver.url()}\n" in said
        assert f"> webhook-id: {request.id}\n" in said
        assert f"> {request.body.decode()}\n" in said
        assert "< 201\n" in said
        assert "< X-Server: Nginx 7\n" in said
        assert "< thank you\n" in said
        assert re.search(r"^delivered after \d+ ms$", said, re.MULTILINE)

    def test_what_fails_says_why_and_ends_with_1(
        self,
        make_endpoint: MakeEndpoint,
        receiver: Receiver,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        receiver.answers["/hook"] = lambda *_: Answer(401, b"\x1b]0;mine\x07 not verified")
        with pytest.raises(SystemExit) as ended:
            call_command("send_test_event", make_endpoint(url=receiver.url()).pk)
        assert ended.value.code == 1
        said = capsys.readouterr().out
        assert "< \\x1b]0;mine\\x07 not verified\n" in said
        assert re.search(r"^rejected after \d+ ms: answered 401", said, re.MULTILINE)

    def test_as_json_for_programs(self, make_endpoint: MakeEndpoint, receiver: Receiver) -> None:
        shown = json.loads(run("send_test_event", make_endpoint(url=receiver.url()).pk, "--json"))
        assert shown["outcome"]["kind"] == "delivered"
        assert shown["request_headers"]["webhook-id"] == receiver.received[0].id

    @pytest.mark.parametrize("endpoint", ["nonsense", "ep_" + "0" * 32])
    def test_an_endpoint_that_is_not_there_is_told_of(self, endpoint: str) -> None:
        with pytest.raises(CommandError, match=endpoint):
            run("send_test_event", endpoint)

    def test_one_that_may_not_be_tested_is_told_why(self, make_endpoint: MakeEndpoint) -> None:
        with pytest.raises(CommandError, match="challenge"):
            run("send_test_event", make_endpoint(state="unverified").pk)
