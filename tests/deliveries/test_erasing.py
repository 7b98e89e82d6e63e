import io
import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Model
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APIClient

from deliveries import dead_letters, erasing, replays, retention, sweeps
from deliveries.emit import InvalidEvent, emit
from deliveries.fan_out import fan_out_chunk
from deliveries.models import Attempt, DeadLetter, Delivery, Erasure, Event, Replay
from deliveries.pipeline import claim, record
from deliveries.subscriber_export import COLUMNS, export
from subscriptions.history import HistoryEntry
from subscriptions.ids import new_id, to_uuid
from subscriptions.models import (
    ApiKey,
    Endpoint,
    Feed,
    Handshake,
    PortalSession,
    SigningSecret,
    Subscriber,
    Subscription,
)
from tests.api_client import api as api
from tests.api_client import client_of, faults
from tests.conftest import Configure
from tests.seeding import seed
from tests.subscriptions.test_admin import act, ask, new_endpoint, page_of
from webhooks.sending.outcome import Outcome, OutcomeKind

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("queue")]

SUBSCRIBERS = reverse("admin:subscriptions_subscriber_changelist")
MARK = "croesus"
"""In every name, URL, text and payload that is to go."""


def move_in(name: str) -> Subscriber:
    """A subscriber with something of every kind."""
    subscriber = Subscriber.objects.create(name=name, external_id=f"{name}-42")
    ApiKey.objects.create_key(name=f"{name}'s", subscriber=subscriber)
    PortalSession.objects.create(
        pk=new_id("psn"), subscriber=subscriber, expires_at=timezone.now() + timedelta(hours=1)
    )
    endpoint = Endpoint.objects.create(
        subscriber=subscriber, url=f"http://127.0.0.1:9/{name}", description=name
    )
    SigningSecret.objects.issue(endpoint)
    Handshake.objects.create(
        endpoint=endpoint, required_at=timezone.now(), verified_at=timezone.now(), error=name
    )
    other = Endpoint.objects.create(subscriber=subscriber, url=f"http://127.0.0.1:9/{name}/2")
    for one in (endpoint, other, Feed.objects.open(subscriber)):
        Subscription.objects.create(endpoint=one, pattern="*", filter=f"@ != '{name}'")
    emit("made.own", {"whose": name}, subscriber=subscriber, idempotency_key=name)
    delivery = Delivery.objects.filter(endpoint=endpoint).latest("id")
    [claimed] = claim([to_uuid(delivery.pk)])
    record([(claimed.lease, Outcome(kind=OutcomeKind.REJECTED, status=410, error=name))])
    replay = Replay(endpoint=other, pattern=f"{name}.*")
    replay.clean()
    replays.start(replay)
    for named in ({"subscriber": subscriber.pk}, {"endpoint": other.pk}):
        dead_letters.begin(dead_letters.Action.DISCARD, {**named, "reason": "expired"})
    return subscriber


@pytest.fixture
def others() -> Subscriber:
    return move_in("abbas")


@pytest.fixture
def doomed(others: Subscriber) -> Subscriber:
    operator = Subscriber.objects.create(name="Darius", operator=True)
    told = Endpoint.objects.create(subscriber=operator, url="http://127.0.0.1:9/operator")
    Subscription.objects.create(endpoint=told, pattern="delivery.dead")
    Subscription.objects.create(endpoint=told, pattern="endpoint.disabled")
    subscriber = move_in(MARK)
    emit("made.shared", {"n": 1})
    return subscriber


def erase(subscriber: Subscriber) -> Erasure:
    erasure = erasing.begin(subscriber.pk)
    while erasing.carry_on_all():
        pass
    erasure.refresh_from_db()
    return erasure


def everything() -> dict[str, list[Any]]:
    return {
        model._meta.label: list(model._default_manager.order_by("pk").values())
        for model in apps.get_models()
    }


def of(subscriber: Subscriber) -> list[dict[str, Any]]:
    """All that the export has of it."""
    return [json.loads(line) for line in export(subscriber.pk)]


def test_nothing_is_left_of_it_in_any_table_but_an_entry_and_a_count_without_a_name(
    doomed: Subscriber,
) -> None:
    mine = Delivery.objects.filter(endpoint__subscriber=doomed).count()
    its_endpoints = list(Endpoint.objects.filter(subscriber=doomed).values_list("pk", flat=True))
    erasure = erase(doomed)
    assert (erasure.deliveries, erasure.events) == (mine, 1)
    assert erasure.ended_at is not None
    left = everything()
    assert MARK not in repr(left)
    with_its_id = {label for label, rows in left.items() if doomed.pk in repr(rows)}
    assert not [one for one in its_endpoints if one in repr(left)]
    assert with_its_id == {"deliveries.Erasure", "subscriptions.HistoryEntry"}
    entry = HistoryEntry.objects.get(subscriber=doomed.pk)
    assert (entry.action, entry.object_id, entry.name) == ("erased", doomed.pk, "")


def test_of_others_and_of_events_for_everybody_all_else_stays(
    doomed: Subscriber, others: Subscriber
) -> None:
    before = of(others)
    erase(doomed)
    assert of(others) == before
    assert Event.objects.filter(type="made.shared").exists()


def test_what_operators_were_told_of_it_goes_and_what_of_others_stays(
    doomed: Subscriber, others: Subscriber
) -> None:
    Endpoint.objects.filter(subscriber=others).order_by("pk")[0].resume()
    sweeps.notices()
    told = Event.objects.filter(subscriber__operator=True)
    assert told.filter(payload__contains=doomed.pk).exists()
    erase(doomed)
    assert not told.filter(payload__contains=doomed.pk).exists()
    assert told.filter(payload__contains=others.pk).exists()
    assert MARK not in repr(everything())


def test_it_is_out_of_reach_at_once(doomed: Subscriber, api: APIClient) -> None:
    own = client_of(ApiKey(name="its own", subscriber=doomed))
    erasing.begin(doomed.pk)
    assert own.get("/api/v1/subscribers/").status_code == 401
    assert not SigningSecret.objects.filter(endpoint__subscriber=doomed).exists()
    before = Delivery.objects.filter(endpoint__subscriber=doomed).count()
    emit("made.shared", {"n": 2})
    assert Delivery.objects.filter(endpoint__subscriber=doomed).count() == before
    with pytest.raises(InvalidEvent, match="There is no subscriber"):
        emit("made.own", {}, subscriber=doomed.pk)
    endpoint = {"subscriber": doomed.pk, "url": "https://example.com/"}
    answer = api.post("/api/v1/endpoints/", endpoint)
    assert (answer.status_code, faults(answer)) == (400, ["subscriber"])


def test_what_slips_in_meanwhile_goes_as_well(doomed: Subscriber) -> None:
    erasing.begin(doomed.pk)
    late = Endpoint.objects.create(subscriber=doomed, url=f"https://{MARK}.example/")
    Subscription.objects.create(endpoint=late, pattern="*")
    emit("made.own", {"whose": MARK}, subscriber=doomed)
    while erasing.carry_on_all():
        pass
    assert MARK not in repr(everything())


def test_a_fan_out_that_is_under_way_makes_nothing_for_it(
    doomed: Subscriber, configure: Configure
) -> None:
    configure(FAN_OUT_INLINE_LIMIT=0, FAN_OUT_CHUNK=1)
    event = emit("made.shared", {"n": 3})
    fan_out_chunk(event.pk)
    erase(doomed)
    while fan_out_chunk(event.pk) is not None:
        pass
    assert Delivery.objects.filter(event=event).count() > 0
    assert MARK not in repr(everything())


def test_a_worker_that_has_a_delivery_in_flight_does_no_harm(doomed: Subscriber) -> None:
    delivery = Delivery.objects.filter(endpoint__subscriber=doomed, state="pending").latest("id")
    [claimed] = claim([to_uuid(delivery.pk)])
    erase(doomed)
    record([(claimed.lease, Outcome(kind=OutcomeKind.DELIVERED, status=200))])
    assert not Attempt.objects.filter(delivery=delivery.pk).exists()
    assert claim([to_uuid(delivery.pk)]) == []


def test_a_batch_and_its_lead_may_go_in_different_chunks(
    doomed: Subscriber, configure: Configure
) -> None:
    endpoint = Endpoint.objects.filter(subscriber=doomed).order_by("pk")[1]
    for n in range(3):
        emit("made.own", {"n": n}, subscriber=doomed)
    lead, *members = Delivery.objects.filter(endpoint=endpoint, state="pending").order_by("id")
    for member in members:
        Delivery.objects.filter(pk=member.pk).update(state="batched", lead=lead, rung_at=None)
    configure(SWEEP_CHUNK=1)
    erase(doomed)
    assert not Delivery.objects.filter(endpoint=endpoint).exists()


@pytest.mark.django_db(transaction=True)
def test_it_goes_in_chunks_and_on_from_where_a_process_left_it(
    doomed: Subscriber, configure: Configure
) -> None:
    configure(SWEEP_CHUNK=1, SWEEP_CHUNKS=2)
    erasure = erasing.begin(doomed.pk)
    mine = Delivery.objects.filter(endpoint__subscriber=doomed).count()
    assert erasing.carry_on_all() == 2
    assert Delivery.objects.filter(endpoint__subscriber=doomed).count() == mine - 2

    def run(_: int) -> None:
        try:
            while erasing.carry_on_all():
                pass
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(run, range(3)))
    run(0)
    erasure.refresh_from_db()
    assert erasure.ended_at is not None
    assert erasure.deliveries == mine
    assert MARK not in repr(everything())


def test_deliveries_are_found_through_their_endpoints_index(doomed: Subscriber) -> None:
    seed(5_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE deliveries_delivery, subscriptions_endpoint")
        cursor.execute(
            f"EXPLAIN {erasing.DELIVERIES}", {"subscriber": to_uuid(doomed.pk), "limit": 500}
        )
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "delivery_by_endpoint" in plan
    assert "Seq Scan on deliveries_delivery" not in plan


def test_jobs_on_its_dead_letters_go_whoever_asked_and_those_on_others_stay(
    doomed: Subscriber, others: Subscriber, api: APIClient
) -> None:
    forgotten, kept = (
        Endpoint.objects.filter(subscriber=owner).order_by("pk")[1] for owner in (doomed, others)
    )
    for endpoint in (forgotten, kept):
        answer = api.post("/api/v1/dead-letters/discard/", {"endpoint": endpoint.pk})
        assert answer.status_code == 200
    api.post("/api/v1/dead-letters/discard/", {"reason": "gone"})
    forgotten.delete_for_good()
    Delivery.objects.filter(endpoint=forgotten).delete()
    Replay.objects.filter(endpoint=forgotten).delete()
    retention.deleted_endpoints()
    erase(doomed)
    left = repr(everything()["deliveries.DeadLetterJob"])
    assert forgotten.pk not in left
    assert doomed.pk not in left
    assert kept.pk in left
    assert "'selection': {'reason': 'gone'}" in left


class TestApi:
    def test_the_id_has_to_be_written_again(self, doomed: Subscriber, api: APIClient) -> None:
        path = f"/api/v1/subscribers/{doomed.pk}/erase/"
        for body in ({}, {"confirm": "sub_" + "0" * 32}, {"confirm": True}):
            answer = api.post(path, body)
            assert (answer.status_code, faults(answer)) == (400, ["confirm"])
        doomed.refresh_from_db()
        assert doomed.erasing_since is None

    def test_how_far_it_has_come_is_told(self, doomed: Subscriber, api: APIClient) -> None:
        path = f"/api/v1/subscribers/{doomed.pk}/erase/"
        answer = api.post(path, {"confirm": doomed.pk})
        assert (answer.status_code, answer.json()["ended_at"]) == (202, None)
        assert api.post(path, {"confirm": doomed.pk}).status_code == 409
        while erasing.carry_on_all():
            pass
        shown = api.get(f"/api/v1/erasures/{answer.json()['id']}/").json()
        assert shown["subscriber"] == doomed.pk
        assert shown["ended_at"] is not None
        assert api.get("/api/v1/erasures/", {"subscriber": doomed.pk}).json()["results"] == [shown]
        assert api.post(path, {"confirm": doomed.pk}).status_code == 404

    def test_the_history_says_whose_key_it_was(self, doomed: Subscriber, api: APIClient) -> None:
        api.post(f"/api/v1/subscribers/{doomed.pk}/erase/", {"confirm": doomed.pk})
        while erasing.carry_on_all():
            pass
        entry = HistoryEntry.objects.get(subscriber=doomed.pk)
        assert (entry.action, entry.actor_kind, entry.actor_name) == (
            *("erased", "api_key"),
            "the tests",
        )

    def test_a_bound_key_exports_its_own_and_erases_nobody(
        self, doomed: Subscriber, others: Subscriber
    ) -> None:
        client = client_of(ApiKey(name="bound", subscriber=doomed))
        own, another_s = (f"/api/v1/subscribers/{one.pk}" for one in (doomed, others))
        exported: Any = client.get(f"{own}/export/")
        text = b"".join(exported.streaming_content).decode()
        assert exported.status_code == 200
        assert "abbas" not in text
        assert client.get(f"{another_s}/export/").status_code == 404
        assert client.post(f"{own}/erase/", {"confirm": doomed.pk}).status_code == 403
        assert client.post(f"{another_s}/erase/", {"confirm": others.pk}).status_code == 404


def leads_to(model: type[Model], *wanted: type[Model]) -> bool:
    """Whether foreign keys lead from a table to one of these, by whatever way."""
    seen, to_see = set(), {model}
    while to_see:
        one = to_see.pop()
        seen.add(one)
        keys = [field for field in one._meta.concrete_fields if field.is_relation]
        to_see |= {field.related_model for field in keys} - seen  # type: ignore[operator]
    return not seen.isdisjoint(wanted)


def kind_of(model: type[Model]) -> str:
    """As what the export has it."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", model.__name__).lower()
    return "history" if model is HistoryEntry else words


class TestExport:
    NEVER_TOLD: ClassVar = {
        "api_key": {
            "id": "it has the hash of the key",
            "hashed_key": "a hash of the key",
            "subscriber": "the one of the export",
        },
        "portal_session": {
            "id": "the browser's cookie says it",
            "subscriber": "the one of the export",
        },
        "endpoint": {
            "subscriber": "the one of the export",
            "credentials": "secret; credentials_shown is what may be seen of them",
            "probe": "of the moment, while the circuit is half-open",
            "takes_deliveries": "follows from state and circuit",
        },
        "signing_secret": {"ciphertext": "the secret"},
        "replay": {"due_at": "of its machinery", "cursor": "of its machinery"},
        "dead_letter_job": {"after": "of its machinery", "up_to": "of its machinery"},
        "event": {
            "ordinal": "out of a sequence that all subscribers share",
            "fan_out_after": "of its machinery",
        },
        "delivery": {
            "rung_at": "of its message on the broker",
            "lease_expires_at": "of the worker that has it",
            "ordering_key": "its event's, and the producer's where that is for everybody",
            "ordinal": "out of a sequence that all subscribers share",
        },
        "attempt": {"id": "out of a sequence that all subscribers share"},
        "state_change": {"id": "out of a sequence that all subscribers share"},
        "dead_letter": {"subscriber": "the one of the export"},
        "history": {"subscriber": "the one of the export"},
    }
    """What the export leaves out, and why."""

    def test_every_table_that_leads_to_a_subscriber_is_in_it_and_so_is_every_column(self) -> None:
        its = [model for model in apps.get_models() if leads_to(model, Subscriber, Delivery)]
        columns = {
            kind_of(model): sorted(field.name for field in model._meta.concrete_fields)
            for model in [*its, HistoryEntry]
        }
        decided = {
            kind: sorted([*names, *self.NEVER_TOLD.get(kind, {})])
            for kind, names in COLUMNS.items()
        }
        assert decided == columns

    def test_who_did_something_is_told_of_its_own_keys_alone(
        self, doomed: Subscriber, api: APIClient
    ) -> None:
        own = client_of(ApiKey(name="bound", subscriber=doomed))
        for client in (own, api):
            letter = DeadLetter.objects.filter(subscriber=doomed, resolution="").first()
            assert letter is not None
            assert client.post(f"/api/v1/dead-letters/{letter.pk}/redrive/").status_code == 200
            Delivery.objects.filter(pk=letter.delivery_id).update(
                state="dead", ended_at=timezone.now()
            )
            DeadLetter.objects.create(
                delivery_id=letter.delivery_id, reason="gone", died_at=timezone.now()
            )
        told = [
            (row["record"], row["actor_kind"], row["actor_name"])
            for row in of(doomed)
            if "redriven" in (row.get("cause"), row.get("action"))
        ]
        assert told == [
            ("state_change", "api_key", "bound"),
            ("state_change", "api_key", ""),
            ("history", "api_key", "bound"),
            ("history", "api_key", ""),
        ]

    def test_it_has_everything_and_what_is_referred_to_comes_first(
        self, doomed: Subscriber
    ) -> None:
        held = Delivery.objects.filter(endpoint__subscriber=doomed, state="pending")[0]
        held.endpoint.pause()
        claim([to_uuid(held.pk)])
        rows = of(doomed)
        assert list(dict.fromkeys(row["record"] for row in rows)) == list(COLUMNS)
        [why] = [row["cause"] for row in rows if row["record"] == "state_change"]
        assert why == "endpoint_paused"
        deliveries = Delivery.objects.filter(endpoint__subscriber=doomed).values_list("pk", flat=1)
        assert {row["id"] for row in rows if row["record"] == "delivery"} == set(deliveries)
        seen: set[str] = set()
        for row in rows:
            if row["record"] == "delivery":
                assert row["event"] in seen
            seen.add(row.get("id", ""))

    def test_an_event_for_everybody_is_in_it_once(self, doomed: Subscriber) -> None:
        events = [row for row in of(doomed) if row["record"] == "event"]
        assert [event["data"] for event in events] == [{"whose": MARK}, {"n": 1}]

    def test_it_goes_page_by_page(
        self, doomed: Subscriber, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def in_order(row: dict[str, Any]) -> str:
            return json.dumps(row, sort_keys=True)

        whole = sorted(of(doomed), key=in_order)
        monkeypatch.setattr("deliveries.exporting.PAGE", 1)
        assert sorted(of(doomed), key=in_order) == whole

    def test_no_secret_is_in_it(self, doomed: Subscriber) -> None:
        endpoint = Endpoint.objects.filter(subscriber=doomed).order_by("pk")[0]
        endpoint.set_credentials(headers={"X-Tenant": "correct-horse"})
        endpoint.save()
        text = "".join(export(doomed.pk))
        secrets = SigningSecret.objects.filter(endpoint__subscriber=doomed)
        hashes = ApiKey.objects.values_list("hashed_key", flat=True)
        for secret in [*(one.reveal() for one in secrets), *hashes, "correct-horse"]:
            assert secret not in text
        for one in secrets:
            assert one.ciphertext not in text


class TestCommands:
    def run(self, *arguments: str) -> str:
        out = io.StringIO()
        call_command(*arguments, stdout=out)
        return out.getvalue()

    def test_a_subscriber_is_exported(self, doomed: Subscriber) -> None:
        lines = self.run("export_subscriber", doomed.pk).splitlines()
        assert [json.loads(line) for line in lines] == of(doomed)

    def test_a_subscriber_is_erased(self, doomed: Subscriber) -> None:
        counted = self.run("erase_subscriber", doomed.pk, "--dry-run")
        assert "endpoints: 3" in counted
        assert Subscriber.objects.filter(pk=doomed.pk).exists()
        told = self.run("erase_subscriber", doomed.pk, "--yes")
        assert "1 events, and the subscriber" in told
        assert MARK not in repr(everything())

    def test_one_that_was_interrupted_is_gone_on_with(self, doomed: Subscriber) -> None:
        erasing.begin(doomed.pk)
        self.run("erase_subscriber", doomed.pk)
        assert not Subscriber.objects.filter(pk=doomed.pk).exists()

    def test_another_answer_erases_nothing(
        self, doomed: Subscriber, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("builtins.input", lambda _: "yes")
        with pytest.raises(CommandError, match="Nothing was erased"):
            self.run("erase_subscriber", doomed.pk)
        assert Subscriber.objects.filter(pk=doomed.pk).exists()

    @pytest.mark.parametrize("command", ["erase_subscriber", "export_subscriber"])
    @pytest.mark.parametrize("key", ["nonsense", "sub_" + "0" * 32])
    def test_nobody_is_not_found(self, command: str, key: str) -> None:
        with pytest.raises(CommandError, match="There is no subscriber"):
            self.run(command, key)


class TestAdmin:
    def test_a_page_says_how_much_goes_and_asks(
        self, admin_client: Client, doomed: Subscriber
    ) -> None:
        page = ask(admin_client, SUBSCRIBERS, "erase", doomed)
        mine = Delivery.objects.filter(endpoint__subscriber=doomed).count()
        assert f"deliveries: {mine}" in page
        assert not Erasure.objects.exists()
        assert "is being erased" in act(admin_client, SUBSCRIBERS, "erase", doomed)
        while erasing.carry_on_all():
            pass
        assert MARK not in repr({**everything(), "django.Session": []})

    def test_what_the_admin_logged_of_what_was_added_changed_and_deleted_there_goes_too(
        self,
        admin_client: Client,
        admin_user: User,
        rf: RequestFactory,
        doomed: Subscriber,
        configure: Configure,
    ) -> None:
        request = rf.get("/")
        request.user = admin_user
        forms: dict[type[Model], dict[str, Any]] = {
            Subscriber: {"name": f"{MARK} the son"},
            Endpoint: new_endpoint(doomed, url=f"https://{MARK}.example/"),
            ApiKey: {"name": MARK, "scopes": ["read"], "subscriber": doomed.pk},
        }
        assert set(forms) == {
            model
            for model, model_admin in admin.site._registry.items()
            if leads_to(model, Subscriber) and model_admin.has_add_permission(request)
        }
        for model, form in forms.items():
            meta = model._meta
            admin_client.post(reverse(f"admin:{meta.app_label}_{meta.model_name}_add"), form)
        kept, gone = (
            Subscription.objects.create(
                endpoint=Endpoint.objects.get(url=f"https://{MARK}.example/"),
                pattern=f"{MARK}.{name}",
            )
            for name in ("kept", "gone")
        )
        admin_client.post(page_of(kept), {"filter": "n"})
        admin_client.post(
            reverse("admin:subscriptions_subscription_delete", args=[quote(gone.pk)]),
            {"post": "yes"},
        )
        logged = LogEntry.objects.filter(object_repr__contains=MARK)
        assert sorted(logged.values_list("content_type__model", "action_flag")) == [
            *[("apikey", 1), ("endpoint", 1), ("subscriber", 1)],
            *[("subscription", 2), ("subscription", 3)],
        ]
        configure(SWEEP_CHUNK=2)  # a process may end after each
        erase(Subscriber.objects.get(name=f"{MARK} the son"))
        erase(doomed)
        assert MARK not in repr(everything())

    def test_what_the_admin_logged_goes_too(self, admin_client: Client, doomed: Subscriber) -> None:
        admin_client.post(page_of(doomed), {"name": f"{MARK} the second"})
        assert MARK in repr(everything()["admin.LogEntry"])
        erase(doomed)
        assert MARK not in repr(everything())

    def test_it_takes_the_permission_to_delete(self, client: Client, doomed: Subscriber) -> None:
        user = User.objects.create_user("op", is_staff=True, last_login=timezone.now())
        user.user_permissions.set(Permission.objects.filter(codename="change_subscriber"))
        client.force_login(user)
        act(client, SUBSCRIBERS, "erase", doomed)
        assert not Erasure.objects.exists()

    def test_a_subscriber_is_exported(self, admin_client: Client, doomed: Subscriber) -> None:
        chosen = {"action": "export", "_selected_action": [doomed.pk]}
        response: Any = admin_client.post(SUBSCRIBERS, chosen)
        lines = b"".join(response.streaming_content).decode().splitlines()
        assert [json.loads(line) for line in lines] == of(doomed)
        assert doomed.pk in response.headers["Content-Disposition"]


def test_its_dead_letters_and_the_jobs_that_it_asked_for_go_with_it(doomed: Subscriber) -> None:
    client = client_of(ApiKey(name="bound", subscriber=doomed))
    assert client.post("/api/v1/dead-letters/redrive/", {"reason": "gone"}).status_code == 200
    assert DeadLetter.objects.filter(subscriber=doomed).exists()
    erase(doomed)
    assert not DeadLetter.objects.filter(subscriber=doomed.pk).exists()
    assert client.get("/api/v1/dead-letter-jobs/").status_code == 401
