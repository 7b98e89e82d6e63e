import json
import socket
from datetime import timedelta
from itertools import islice
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from angarium_client import (
    Angarium,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Refused,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from angarium_client.errors import refused
from angarium_client.shapes import NewReplay
from deliveries.models import Delivery, Event
from subscriptions.models import ApiKey, Endpoint
from tests.client.conftest import Web, bury
from tests.conftest import MakeEndpoint
from tests.deliveries.conftest import MakeDelivery
from tests.deliveries.conftest import make_delivery as make_delivery
from tests.processes import wait_until
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)


class TestEvents:
    def test_what_is_emitted_is_there_with_its_data(self, client: Angarium) -> None:
        event = client.emit("invoice.paid", {"id": 42}, channels=["eu"], idempotency_key="paid-42")
        assert client.event(event["id"])["data"] == {"id": 42}
        assert Event.objects.get().channels == ["eu"]
        assert client.emit("invoice.paid", {"id": 42}, channels=["eu"], idempotency_key="paid-42")
        assert Event.objects.count() == 1

    def test_a_list_goes_on_from_page_to_page(self, client: Angarium) -> None:
        emitted = [client.emit("page.turned", {"n": n})["id"] for n in range(60)]
        assert [event["id"] for event in client.events()] == emitted[::-1]

    def test_no_page_is_fetched_that_nobody_asks_for(self, web: Web) -> None:
        rows = [{"id": "evt_2"}, {"id": "evt_1"}]
        page = {"next": f"{web.url}/api/v1/events/?cursor=x", "previous": None, "results": rows}
        web.answers = [(200, json.dumps(page).encode())]
        with Angarium(web.url, "key") as client:
            assert list(islice(client.events(), 2)) == rows
        assert len(web.requests) == 1


class TestEndpoints:
    def test_one_is_added_paused_resumed_changed_and_deleted(self, client: Angarium) -> None:
        owner = client.add_subscriber("Croesus", external_id="42")
        assert [one["name"] for one in client.subscribers(external_id="42")] == ["Croesus"]
        added = client.add_endpoint(owner["id"], "https://example.com/hooks", ["invoice.*"])
        assert (added["secret"] or "").startswith("whsec_")
        assert client.pause(added["id"])["state"] == "paused"
        assert client.resume(added["id"])["state"] == "active"
        assert client.change_endpoint(added["id"], {"ordered": True})["ordered"]
        assert client.rotate_secret(added["id"])["secret"] != added["secret"]
        client.delete_endpoint(added["id"])
        assert list(client.endpoints()) == []
        assert Endpoint.objects.get().state == "deleted"

    def test_a_test_event_shows_request_and_answer(
        self, client: Angarium, make_endpoint: MakeEndpoint, receiver: Receiver
    ) -> None:
        receiver.answers["/hook"] = lambda _, __: Answer(503, b"not now")
        exchange = client.test(make_endpoint(url=receiver.url()).pk)
        assert exchange["response"]["status"] == 503
        assert exchange["response"]["body"] == "not now"


class TestDeadLetters:
    def test_they_are_redriven_and_discarded(
        self, client: Angarium, make_endpoint: MakeEndpoint
    ) -> None:
        endpoint = make_endpoint()
        for n in range(3):
            client.emit("invoice.paid", {"n": n})
        client.pause(endpoint.pk)
        first, *_ = client.deliveries(endpoint=endpoint.pk)
        assert client.discard(first["id"])["state"] == "discarded"
        with pytest.raises(Conflict, match="This delivery was discarded"):
            client.discard(first["id"])
        counted = client.redrive(reason="exhausted", dry_run=True)
        assert (counted["id"], counted["matched"]) == (None, 0)
        job = client.redrive(reason="exhausted")
        assert job["id"] is not None
        assert client.dead_letter_job(job["id"]) == job
        assert (job["action"], job["changed"]) == ("redrive", 0)
        assert list(client.dead_letters()) == []
        assert Delivery.objects.count() == 3

    def test_they_are_exported_with_their_events_data(
        self, client: Angarium, make_delivery: MakeDelivery
    ) -> None:
        letter = bury(make_delivery())
        [line] = b"".join(client.export_dead_letters()).splitlines()
        assert (json.loads(line)["id"], json.loads(line)["data"]) == (letter.pk, {"n": 1})
        _, row = b"".join(client.export_dead_letters("csv", reason="gone")).splitlines()
        assert letter.pk in row.decode()
        assert b"".join(client.export_dead_letters(died_before=letter.died_at)) == b""
        with pytest.raises(Invalid, match="format"):
            client.export_dead_letters("xml")

    def test_an_export_that_breaks_off_is_an_error(self, web: Web) -> None:
        web.answers = [(200, b"half")]
        web.promised = 8
        with Angarium(web.url, "key") as client, pytest.raises(Unreachable, match="broke off"):
            list(client.export_dead_letters())


class TestReplays:
    def test_one_is_counted_started_paused_resumed_and_cancelled(
        self, client: Angarium, make_delivery: MakeDelivery
    ) -> None:
        delivery = make_delivery(state="delivered", ended_at=timezone.now())
        since = timezone.now() - timedelta(hours=1)
        asked: NewReplay = {"endpoint": delivery.endpoint_id, "pattern": "made.*", "since": since}
        # The client and the server may differ by a millisecond in when that was.
        wait_until(lambda: client.count_replay(**asked)["count"] == 1, "the delivery")
        replay = client.start_replay(**asked)
        assert replay["since"] == since.isoformat().replace("+00:00", "Z")
        with pytest.raises(Conflict):
            client.start_replay(**asked)
        assert client.pause_replay(replay["id"])["state"] == "paused"
        assert client.resume_replay(replay["id"])["state"] == "running"
        assert client.cancel_replay(replay["id"])["state"] == "cancelled"
        [listed] = client.replays(endpoint=delivery.endpoint_id)
        assert listed == client.replay(replay["id"])

    def test_a_single_delivery_is_sent_again(
        self, client: Angarium, make_delivery: MakeDelivery
    ) -> None:
        delivery = make_delivery(state="delivered", ended_at=timezone.now())
        assert client.replay_delivery(delivery.pk)["state"] == "pending"
        with pytest.raises(Conflict):
            client.replay_delivery(delivery.pk)


class TestExplanations:
    def test_say_how_it_stands_and_what_happens_next(
        self, client: Angarium, make_delivery: MakeDelivery
    ) -> None:
        letter = bury(make_delivery())
        told = client.explain(letter.delivery.event_id, letter.endpoint_id)
        assert (told["state"], told["delivery"]) == ("dead", letter.delivery_id)
        assert told["timeline"][0]["what"] == "event"
        assert told["next"]["at"] is not None


class TestErrors:
    def test_a_refusal_says_which_field_is_at_fault_and_which_request_it_was(
        self, client: Angarium
    ) -> None:
        with pytest.raises(Invalid, match="type: Use words of letters") as raised:
            client.emit("no type!", {})
        assert list(raised.value.faults) == ["type"]
        with pytest.raises(Invalid, match=r"^Say which are meant"):
            client.redrive()
        assert raised.value.request_id

    def test_each_kind_is_an_error_of_its_own(
        self, client: Angarium, live_server: LiveServer
    ) -> None:
        url = live_server.url
        _, weak = ApiKey.objects.create_key(name="emitter", scopes=["emit"])
        with pytest.raises(Unauthorized, match="not known, or was revoked"):
            list(Angarium(url, "wrong.key").events())
        with pytest.raises(Forbidden, match='scope "read"'):
            list(Angarium(url, weak).events())
        with pytest.raises(NotFound):
            client.event("evt_" + "0" * 32)

    def test_one_is_told_for_how_long_a_rate_is_used_up(self) -> None:
        error = refused(429, {"detail": "Too many requests."}, "7")
        assert isinstance(error, TooManyRequests)
        assert (error.retry_after, str(error)) == (7.0, "Too many requests.")

    def test_what_is_no_json_is_an_error_all_the_same(self, web: Web) -> None:
        web.answers = [(500, b"<h1>Oh dear</h1>")]
        with Angarium(web.url, "key") as client, pytest.raises(Refused, match="answered 500"):
            client.emit("invoice.paid", {})

    def test_nobody_there_is_said_so(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with pytest.raises(Unreachable, match="does not answer"):
            Angarium(f"http://127.0.0.1:{port}", "key").delete_endpoint("ep_1")


class TestAway:
    def test_an_event_is_emitted_once_the_server_is_back_under_one_key(self, web: Web) -> None:
        web.answers = [(503, b""), (503, b""), (201, b'{"id": "evt_1"}')]
        with Angarium(web.url, "key") as client:
            assert client.emit("invoice.paid", {}) == {"id": "evt_1"}
        assert [request.path for request in web.requests] == ["/api/v1/events/"] * 3
        assert len({request.headers["idempotency-key"] for request in web.requests}) == 1

    def test_what_would_do_more_when_it_is_sent_twice_is_sent_once(self, web: Web) -> None:
        web.answers = [(503, b""), (200, b"{}")]
        with Angarium(web.url, "key") as client, pytest.raises(Refused, match="answered 503"):
            client.rotate_secret("ep_1")
        assert len(web.requests) == 1


class TestKey:
    def test_it_is_shown_whatever_a_netrc_says(
        self, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login other password secret")
        monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
        web.answers = [(200, b"{}")]
        with Angarium(web.url, "the-key") as client:
            client.event("evt_1")
        assert web.requests[0].headers["authorization"] == "Bearer the-key"

    def test_it_is_not_taken_to_where_a_redirect_leads(self, web: Web) -> None:
        web.answers = [(302, b"")]
        web.location = f"http://localhost:{web.port}/elsewhere"
        with Angarium(web.url, "the-key") as client, pytest.raises(Refused):
            client.event("evt_1")
        assert len(web.requests) == 1

    def test_nor_to_where_the_next_page_is_said_to_be(self, web: Web) -> None:
        page = {"next": "http://attacker.example/", "previous": None, "results": [{"id": "evt_1"}]}
        web.answers = [(200, json.dumps(page).encode()), (404, b"")]
        with Angarium(web.url, "the-key") as client, pytest.raises(NotFound):
            list(client.events())
        assert len(web.requests) == 2
