import json
import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from angarium_client.cli import jobs, login, main
from angarium_client.cli.tailing import REMEMBERED, News
from angarium_client.cli.times import Time, local
from angarium_client.shapes import Delivery
from deliveries import dead_letters, replays
from deliveries.emit import emit
from deliveries.models import DeadLetterJob, Event, Replay
from subscriptions.models import ApiKey, Subscriber
from tests.client.conftest import bury
from tests.conftest import Configure, MakeEndpoint
from tests.deliveries.conftest import MakeDelivery
from tests.deliveries.conftest import make_delivery as make_delivery
from tests.processes import wait_until
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)

Run = Callable[..., Result]

LIST_ALL = ("dead-letters", "list", "--resolution", "any")


@pytest.fixture
def run(live_server: LiveServer, key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Call `angarium` as somebody who is logged in."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("ANGARIUM_URL", live_server.url)
    monkeypatch.setenv("ANGARIUM_KEY", key)
    monkeypatch.delenv("COLUMNS", raising=False)
    return lambda *arguments, **options: CliRunner().invoke(main, list(arguments), **options)


def lines(result: Result) -> list[Any]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


class TestLogin:
    def test_it_keeps_what_works_where_its_owner_alone_can_read_it(
        self, run: Run, live_server: LiveServer, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("ANGARIUM_URL")
        assert "Run `angarium login`" in run("events").output
        result = run("login", live_server.url, input=f"{key}\n")
        assert (result.exit_code, key in result.output) == (0, False)
        assert stat.S_IMODE(login.path().stat().st_mode) == 0o600
        assert run("events").exit_code == 0
        run("logout")
        assert run("events").exit_code == 1

    def test_a_key_that_is_none_is_not_kept(self, run: Run, live_server: LiveServer) -> None:
        result = run("login", live_server.url, "--key", "wrong.key")
        assert result.exit_code == 1
        assert "not known" in result.output
        assert not login.path().exists()

    def test_a_key_that_may_only_emit_is_a_key(self, run: Run, live_server: LiveServer) -> None:
        _, weak = ApiKey.objects.create_key(name="emitter", scopes=["emit"])
        assert run("login", live_server.url, "--key", weak).exit_code == 0


class TestEmit:
    def test_an_event(self, run: Run) -> None:
        result = run("emit", "invoice.paid", '{"id": 42}', "--channel", "eu")
        assert result.exit_code == 0
        event = Event.objects.get()
        assert (event.type, event.data, event.channels) == ("invoice.paid", {"id": 42}, ["eu"])
        assert event.pk in result.output

    def test_a_file_of_them(self, run: Run, tmp_path: Path) -> None:
        file = tmp_path / "events.jsonl"
        file.write_text('{"type": "a.b", "data": 1}\n\n{"type": "c.d", "data": null}\n')
        [first, second] = lines(run("--json", "emit", "--file", str(file)))
        assert (first["type"], second["type"]) == ("a.b", "c.d")
        assert "2 events emitted" in run("emit", "--file", str(file)).output

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("{", "This is no JSON"),
            ('{"type": "a.b"}', "Line 1 is not"),
            ('{"type": "a.b", "data": 1, "lorry": 2}', "Line 1: "),
        ],
    )
    def test_a_line_that_is_none_is_named(self, run: Run, line: str, said: str) -> None:
        result = run("emit", "--file", "-", input=line)
        assert (result.exit_code, said in result.output) == (1, True)
        assert not Event.objects.exists()

    def test_the_server_s_own_words_say_what_is_wrong(self, run: Run) -> None:
        result = run("emit", "no type!", "{}")
        assert result.exit_code == 1
        assert "type: Use words of letters" in result.output


class TestLists:
    def test_are_tables_for_people_and_lines_of_json_for_programs(
        self, run: Run, make_endpoint: MakeEndpoint
    ) -> None:
        endpoint = make_endpoint()
        event = emit("invoice.paid", {})
        assert event.pk in run("events").output
        [delivery] = lines(run("--json", "deliveries", "--endpoint", endpoint.pk))
        assert (delivery["event"], delivery["state"]) == (event.pk, "pending")
        assert "pending" in run("delivery", delivery["id"]).output
        assert "None." in run("dead-letters", "list").output
        counted = run("dead-letters", "redrive", "--reason", "exhausted", "--dry-run")
        assert "0 would be redriven." in counted.output
        assert "0 redriven." in run("dead-letters", "redrive", "--reason", "exhausted").output
        [subscriber] = lines(run("--json", "subscribers", "list"))
        assert subscriber["id"] == endpoint.subscriber_id

    def test_have_as_many_rows_as_one_asks_for(self, run: Run) -> None:
        for n in range(5):
            emit("invoice.paid", n)
        assert len(lines(run("--json", "events", "--limit", "2"))) == 2


class TestEndpoints:
    def test_one_is_added_and_its_secret_is_shown(self, run: Run, subscriber: Subscriber) -> None:
        add = ("endpoints", "add", subscriber.pk, "https://example.com/hooks", "invoice.*")
        assert "whsec_" in run(*add).output
        again = run(*add)
        assert "has this URL already" in again.stderr
        [one, _] = lines(run("--json", "endpoints", "list"))
        assert one["subscriptions"] == ["invoice.*"]
        assert "paused" in run("endpoints", "pause", one["id"]).output
        assert "active" in run("endpoints", "resume", one["id"]).output
        assert run("endpoints", "delete", one["id"], input="n\n").exit_code == 1
        assert run("endpoints", "delete", one["id"], "--yes").exit_code == 0

    def test_a_test_event_that_fails_is_a_failure_of_the_command(
        self, run: Run, make_endpoint: MakeEndpoint, receiver: Receiver
    ) -> None:
        endpoint = make_endpoint(url=receiver.url())
        assert run("endpoints", "test", endpoint.pk).exit_code == 0
        receiver.answers["/hook"] = lambda _, __: Answer(500)
        assert run("endpoints", "test", endpoint.pk).exit_code == 1


class TestExplain:
    def test_the_time_line_is_a_table_in_colours(
        self, run: Run, make_delivery: MakeDelivery, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        letter = bury(make_delivery())
        event, endpoint = letter.delivery.event_id, letter.endpoint_id
        plain = run("explain", letter.delivery_id).output
        assert plain == run("explain", event, endpoint).output
        assert "The event was emitted." in plain
        assert "What happens next" in plain
        monkeypatch.setenv("FORCE_COLOR", "1")
        assert "\x1b[31mdead" in run("explain", letter.delivery_id, color=True).output

    def test_the_whole_of_it_is_there_for_programs(
        self, run: Run, make_delivery: MakeDelivery
    ) -> None:
        [told] = lines(run("--json", "explain", make_delivery().pk))
        assert told["timeline"][0]["explanation"] == "The event was emitted."

    def test_of_an_event_one_has_to_name_the_endpoint(self, run: Run) -> None:
        assert run("explain", "evt_1").exit_code == 2


class TestDeadLetters:
    def test_what_an_endpoint_answered_does_not_steer_the_terminal(
        self, run: Run, make_delivery: MakeDelivery
    ) -> None:
        letter = bury(make_delivery(), last_error="\x1b]0;mine\x07 \u202eevil [/b] :fire:")
        for command in (("dead-letters", "list"), ("explain", letter.delivery_id)):
            shown = run(*command).output
            assert "\\x1b]0;mine\\x07 \\u202eevil [/b] :fire:" in shown
            assert "\x1b" not in shown

    def test_one_is_redriven_by_its_name_and_another_discarded(
        self, run: Run, make_delivery: MakeDelivery
    ) -> None:
        first, second = bury(make_delivery()), bury(make_delivery())
        assert "1 redriven." in run("dead-letters", "redrive", first.pk).output
        discard = ("dead-letters", "discard", second.pk)
        assert run(*discard, input="n\n").exit_code == 1
        assert "1 discarded." in run(*discard, "--yes").output
        assert {one["resolution"] for one in lines(run("--json", *LIST_ALL))} == {
            "redriven",
            "discarded",
        }

    def test_a_job_is_followed_to_its_end(
        self,
        run: Run,
        make_delivery: MakeDelivery,
        configure: Configure,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(jobs, "PAUSE", 0.01)
        configure(SWEEP_CHUNK=2)
        letters = [bury(make_delivery()) for _ in range(3)]
        redrive = ("dead-letters", "redrive", "--reason", "gone", "--follow")
        with ThreadPoolExecutor(1) as pool:
            followed = pool.submit(run, "--json", *redrive)
            wait_until(lambda: DeadLetterJob.objects.filter(changed=2).exists(), "the job")
            dead_letters.carry_on_all()
        told = lines(followed.result())
        assert (told[-1]["changed"], told[-1]["ended_at"] is None) == (len(letters), False)
        assert "100%" in run("dead-letters", "job", told[-1]["id"], "--follow").output


class TestReplay:
    def test_one_is_counted_and_then_followed_to_its_end(
        self, run: Run, make_delivery: MakeDelivery, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jobs, "PAUSE", 0.01)
        delivery = make_delivery(state="delivered", ended_at=timezone.now())
        start = ("replay", "start", delivery.endpoint_id, "--since", "2026-01-01")
        wait_until(lambda: "1 would be sent." in run(*start, "--dry-run").output, "the delivery")
        with ThreadPoolExecutor(1) as pool:
            followed = pool.submit(run, "--json", *start, "--follow")
            wait_until(lambda: Replay.objects.exists(), "the replay")
            replay = Replay.objects.get()
            wait_until(lambda: replays.step(replay.pk) is None, "its end")
        last = lines(followed.result())[-1]
        assert (last["state"], last["replayed"], last["progress"]) == ("finished", 1, 1.0)
        assert "100%" in run("replay", "show", replay.pk).output
        assert "1 sent, finished." in run("replay", "show", replay.pk, "--follow").output

    def test_it_is_paused_resumed_and_cancelled(
        self, run: Run, make_endpoint: MakeEndpoint
    ) -> None:
        [replay] = lines(run("--json", "replay", "start", make_endpoint().pk))
        for change, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
            assert state in run("replay", change, replay["id"]).output
        ended = run("replay", "pause", replay["id"])
        assert (ended.exit_code, "This replay is cancelled." in ended.output) == (1, True)

    def test_a_time_that_is_none_is_said_so(self, run: Run) -> None:
        result = run("replay", "start", "ep_1", "--since", "yesterday")
        assert (result.exit_code, "is no time" in result.output) == (2, True)


class TestTimes:
    def test_are_those_of_the_clocks_here(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TZ", "Asia/Tehran")
        time.tzset()
        try:
            assert Time().convert("2026-03-01T08:00", None, None).utcoffset() == timedelta(
                hours=3.5
            )
            assert f"{local('2026-03-01T04:30:00Z'):%H:%M}" == "08:00"
        finally:
            monkeypatch.undo()
            time.tzset()


class TestTail:
    def test_deliveries_are_shown_live(self, run: Run, make_endpoint: MakeEndpoint) -> None:
        make_endpoint()
        before = emit("invoice.paid", "before")
        shown: list[Any] = []

        def tail() -> None:
            shown.extend(lines(run("--json", "tail", "--pause", "0.05", "--count", "1")))

        def is_shown_what_comes() -> bool:
            emit("invoice.paid", "after")
            watching.join(0.2)
            return not watching.is_alive()

        watching = threading.Thread(target=tail)
        watching.start()
        wait_until(is_shown_what_comes, "a line")
        [delivery] = shown
        assert delivery["state"] == "pending"
        assert delivery["event"] != before.pk

    def test_what_is_new_or_has_changed_is_news(self) -> None:
        news = News()
        assert news.of([delivery(2), delivery(1)]) == [delivery(1), delivery(2)]
        assert news.of([delivery(2), delivery(1)]) == []
        changed = delivery(1, state="delivered", attempt_number=1)
        assert news.of([delivery(2), changed]) == [changed]

    def test_not_all_that_ever_was_is_remembered(self) -> None:
        news = News()
        for n in range(REMEMBERED + 10):
            news.of([delivery(n)])
        assert news.of([delivery(REMEMBERED)]) == []
        assert news.of([delivery(1)]) == [delivery(1)]


def delivery(number: int, state: str = "pending", attempt_number: int = 0) -> Delivery:
    return {
        "id": f"dlv_{number:05}",
        "event": "evt_1",
        "event_type": "invoice.paid",
        "endpoint": "ep_1",
        "state": state,
        "lead": None,
        "batch_size": None,
        "attempt_number": attempt_number,
        "created_at": "2026-07-01T12:00:00Z",
        "next_attempt_at": None,
        "ended_at": None,
    }
