"""Every change has an entry, by whatever way it comes; none has a secret."""

import io
import json
import logging
import os
import subprocess
import sys
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APIClient

from deliveries.pipeline import Lease, record
from subscriptions.attribution import Actor, ActorKind, Attributing
from subscriptions.history import HistoryEntry
from subscriptions.ids import to_uuid
from subscriptions.models import (
    ApiKey,
    Endpoint,
    EventType,
    SigningSecret,
    Subscriber,
    Subscription,
)
from tests.api_client import api as api
from tests.api_client import client_of
from tests.conftest import Configure, MakeEndpoint
from tests.deliveries.conftest import MakeDelivery
from tests.deliveries.conftest import make_delivery as make_delivery
from tests.processes import ROOT, database_url
from tests.subscriptions.test_admin import act, page_of
from webhooks.sending.outcome import Outcome, OutcomeKind

pytestmark = pytest.mark.django_db

ENDPOINTS = "/admin/subscriptions/endpoint/"
SOMEBODY = Actor(ActorKind.USER, "7", "shirin", "203.0.113.9", "req_1")


def entries(**about: str) -> list[HistoryEntry]:
    """The entries of the history, oldest first."""
    return list(HistoryEntry.objects.filter(**about).order_by("pk"))


def only_entry(**about: str) -> HistoryEntry:
    return HistoryEntry.objects.get(**about)


def noted() -> list[tuple[str, str, Any]]:
    return [(entry.action, entry.kind, entry.changes) for entry in entries()]


def forget() -> None:
    HistoryEntry.objects.all().delete()


class TestWhat:
    def test_what_is_created_changed_and_deleted(self) -> None:
        subscriber = Subscriber.objects.create(name="Khadija")
        subscriber.name = "Khadija of Kashan"
        subscriber.save()
        subscriber.delete()
        assert noted() == [
            ("created", "subscriber", {"name": [None, "Khadija"], "operator": [None, False]}),
            ("changed", "subscriber", {"name": ["Khadija", "Khadija of Kashan"]}),
            (
                "deleted",
                "subscriber",
                {"name": ["Khadija of Kashan", None], "operator": [False, None]},
            ),
        ]
        assert {entry.object_id for entry in entries()} == {entries()[0].subscriber}

    def test_an_entry_knows_what_it_is_about(self, make_endpoint: MakeEndpoint) -> None:
        endpoint = make_endpoint("invoice.paid")
        subscriber, subscription = endpoint.subscriber, endpoint.subscriptions.get()
        secret = endpoint.signing_secrets.get()
        about = {
            entry.kind: (entry.object_id, entry.name, entry.endpoint, entry.subscriber)
            for entry in entries()
        }
        assert about == {
            "subscriber": (subscriber.pk, subscriber.name, "", subscriber.pk),
            "endpoint": (endpoint.pk, endpoint.url, endpoint.pk, subscriber.pk),
            "signing_secret": (secret.pk, "", endpoint.pk, subscriber.pk),
            "subscription": (subscription.pk, "invoice.paid", endpoint.pk, subscriber.pk),
        }

    def test_entries_come_in_the_order_of_the_changes(self, make_endpoint: MakeEndpoint) -> None:
        make_endpoint("a", "b", "c")
        assert [entry.name for entry in entries(kind="subscription")] == ["a", "b", "c"]
        assert [entry.at for entry in entries()] == sorted(entry.at for entry in entries())

    def test_an_event_type_goes_by_its_name_and_an_api_key_by_its_prefix(
        self, subscriber: Subscriber
    ) -> None:
        EventType.objects.create(name="invoice.paid")
        key, _ = ApiKey.objects.create_key(name="billing", subscriber=subscriber, scopes=["read"])
        assert only_entry(kind="event_type").object_id == "invoice.paid"
        entry = only_entry(kind="api_key")
        assert (entry.object_id, entry.name, entry.subscriber) == (
            key.prefix,
            "billing",
            subscriber.pk,
        )
        assert entry.changes["scopes"] == [None, ["read"]]

    def test_a_save_that_changes_nothing_is_no_change(self, subscriber: Subscriber) -> None:
        forget()
        subscriber.save()
        assert noted() == []

    def test_changes_in_bulk_and_in_bare_sql_are_changes(self, make_endpoint: MakeEndpoint) -> None:
        first, second = make_endpoint(), make_endpoint()
        forget()
        Endpoint.objects.update(description=F("url"))
        Subscription.objects.bulk_create([Subscription(endpoint=first, pattern="a.b")])
        Subscription.objects.filter(endpoint=second).delete()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE subscriptions_endpoint SET state = 'paused'")
        assert [(entry.action, entry.kind) for entry in entries()] == [
            *[("changed", "endpoint")] * 2,
            ("created", "subscription"),
            ("deleted", "subscription"),
            *[("changed", "endpoint")] * 2,
        ]

    def test_a_rotation_and_its_end_are_told(self, make_endpoint: MakeEndpoint) -> None:
        endpoint = make_endpoint()
        forget()
        SigningSecret.objects.issue(endpoint)
        SigningSecret.objects.expire_replaced(endpoint)
        assert [(entry.action, list(entry.changes)) for entry in entries()] == [
            ("changed", ["expires_at"]),
            ("created", []),
            ("deleted", ["expires_at"]),
        ]

    def test_what_is_undone_has_no_entry(self, subscriber: Subscriber) -> None:
        forget()
        with transaction.atomic():
            Subscriber.objects.create(name="a")
            transaction.set_rollback(True)
        assert noted() == []

    def test_the_history_outlives_what_it_is_about(
        self, make_endpoint: MakeEndpoint, api: APIClient
    ) -> None:
        endpoint = make_endpoint()
        path = f"/api/v1/subscribers/{endpoint.subscriber_id}/"
        endpoint.delete_for_good()
        assert api.delete(path).status_code == 204
        assert not Endpoint.objects.exists()
        kept = entries(subscriber=endpoint.subscriber_id)
        assert [entry.kind for entry in kept if entry.action == "deleted"] == [
            "signing_secret",
            "subscription",
            "endpoint",
            "subscriber",
        ]

    def test_an_entry_cannot_be_changed(self, subscriber: Subscriber) -> None:
        for change in (
            lambda: HistoryEntry.objects.update(actor_name="nobody"),
            lambda: only_entry().save(),
        ):
            with pytest.raises(DatabaseError, match="stays as it was"), transaction.atomic():
                change()


class TestWhose:
    def test_a_user_s(self, admin_client: Client, make_endpoint: MakeEndpoint) -> None:
        endpoint = make_endpoint()
        headers = {"X-Request-ID": "from-the-desk"}
        chosen = {"action": "pause", "_selected_action": endpoint.pk, "confirmed": "yes"}
        admin_client.post(ENDPOINTS, chosen, headers=headers, REMOTE_ADDR="203.0.113.9")
        entry = entries()[-1]
        user = User.objects.get()
        assert entry.changes == {"state": ["active", "paused"]}
        assert (entry.actor_kind, entry.actor_id, entry.actor_name) == (
            "user",
            str(user.pk),
            user.username,
        )
        assert (entry.ip_address, entry.request_id) == ("203.0.113.9", "from-the-desk")

    def test_an_api_key_s(self, make_endpoint: MakeEndpoint) -> None:
        endpoint = make_endpoint()
        client = client_of(ApiKey(name="billing"))
        answer = client.post(f"/api/v1/endpoints/{endpoint.pk}/pause/", REMOTE_ADDR="2001:db8::1")
        entry = entries()[-1]
        assert (entry.actor_kind, entry.actor_id, entry.actor_name) == (
            "api_key",
            ApiKey.objects.get().prefix,
            "billing",
        )
        assert entry.ip_address == "2001:db8::1"
        assert entry.request_id == answer.headers["X-Request-ID"]

    def test_angarium_s_own(self, subscriber: Subscriber) -> None:
        entry = only_entry()
        assert (entry.actor_kind, entry.actor_name, entry.actor) == ("angarium", "", "Angarium")

    @pytest.mark.django_db(transaction=True)
    def test_a_command_s(self) -> None:
        subprocess.run(
            [sys.executable, "manage.py", "create_api_key", "billing"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": database_url()},
            check=True,
            capture_output=True,
        )
        entry = only_entry(kind="api_key")
        assert (entry.actor_kind, entry.actor) == ("command", "manage.py create_api_key")

    @pytest.mark.parametrize("atomic", [True, False])
    @pytest.mark.django_db(transaction=True)
    def test_whoever_comes_next_on_the_same_connection_is_not_taken_for_the_one_before(
        self, atomic: bool
    ) -> None:
        with connection.execute_wrapper(Attributing(lambda: SOMEBODY)):
            if atomic:
                with transaction.atomic():
                    Subscriber.objects.create(name="a")
            else:
                Subscriber.objects.create(name="a")
        Subscriber.objects.create(name="b")
        assert [entry.actor for entry in entries()] == ["shirin", "Angarium"]

    def test_a_change_after_one_that_failed_is_still_one_s_own(self) -> None:
        with connection.execute_wrapper(Attributing(lambda: SOMEBODY)), transaction.atomic():
            EventType.objects.create(name="a.b")
            with pytest.raises(IntegrityError), transaction.atomic():
                EventType.objects.create(name="not dotted words")
            EventType.objects.create(name="c.d")
        assert [(entry.object_id, entry.actor) for entry in entries()] == [
            ("a.b", "shirin"),
            ("c.d", "shirin"),
        ]

    def test_only_changes_that_have_a_history_cost_a_query_more(
        self, subscriber: Subscriber, django_assert_num_queries: Any
    ) -> None:
        with connection.execute_wrapper(Attributing(lambda: SOMEBODY)):
            with django_assert_num_queries(1):
                Subscriber.objects.get()
            with django_assert_num_queries(1):
                list(Subscriber.objects.select_for_update(of=("self",)))
            with django_assert_num_queries(2), transaction.atomic(savepoint=False):
                Subscriber.objects.update(name="b")


class TestHealth:
    def lease(self, make_delivery: MakeDelivery) -> Lease:
        delivery = make_delivery(state="sending", attempt_number=1, lease_expires_at=timezone.now())
        forget()
        return Lease(to_uuid(delivery.pk), to_uuid(delivery.endpoint_id), 1, 0)

    @pytest.mark.parametrize("kind", [OutcomeKind.DELIVERED, OutcomeKind.TIMED_OUT])
    def test_how_an_endpoint_fares_is_no_change_of_anybody_s(
        self, make_delivery: MakeDelivery, kind: OutcomeKind
    ) -> None:
        lease = self.lease(make_delivery)
        record([(lease, Outcome(kind=kind))])
        endpoint = Endpoint.objects.get()
        assert endpoint.last_success_at or endpoint.last_failure_at
        assert noted() == []

    def test_that_angarium_disables_an_endpoint_is_one(self, make_delivery: MakeDelivery) -> None:
        lease = self.lease(make_delivery)
        record([(lease, Outcome(kind=OutcomeKind.REJECTED, status=410))])
        entry = only_entry()
        assert entry.actor == "Angarium"
        assert entry.changes == {
            "state": ["active", "disabled"],
            "disabled_reason": ["", "It answered 410 Gone."],
        }

    def test_that_an_api_key_is_used_is_none(self) -> None:
        client = client_of(ApiKey(name="billing"))
        forget()
        assert client.get("/api/v1/subscribers/").status_code == 200
        assert ApiKey.objects.get().last_used_at is not None
        assert noted() == []


class TestSecrets:
    NOBODY_S = {
        "subscriptions_subscriber": "id created_at erasing_since",
        "subscriptions_endpoint": "id created_at last_success_at last_failure_at failing_since "
        "failure_warning circuit openings probe_at probe takes_deliveries",
        "subscriptions_subscription": "id created_at filter_failures filter_failed_at filter_error",
        "subscriptions_signingsecret": "id created_at",
        "subscriptions_eventtype": "name created_at",
        "subscriptions_apikey": "id prefix created last_used_at",
    }
    """The columns that are set for good, or by no person's doing."""

    @pytest.mark.parametrize(
        "model", [Subscriber, Endpoint, Subscription, SigningSecret, EventType, ApiKey]
    )
    def test_of_every_column_it_is_decided_what_the_history_tells(self, model: Any) -> None:
        table = model._meta.db_table
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT tgargs, array(SELECT attname::text FROM pg_attribute"
                " WHERE attrelid = tgrelid AND attnum = ANY (tgattr))"
                "  FROM pg_trigger WHERE tgrelid = %s::regclass AND tgname = 'history'",
                [table],
            )
            [(arguments, watched)] = cursor.fetchall()
        *_, told, untold, _ = bytes(arguments).decode().split("\0")
        assert set(watched) == {*told.split(), *untold.split()}
        decided = [*watched, *self.NOBODY_S[table].split()]
        assert sorted(decided) == sorted(field.column for field in model._meta.concrete_fields)

    def test_no_secret_is_in_it_and_no_hash(
        self, api: APIClient, admin_client: Client, subscriber: Subscriber
    ) -> None:
        secrets = ["correct-horse", "battery-staple", "another-token"]
        endpoint = api.post(
            "/api/v1/endpoints/",
            {
                "subscriber": subscriber.pk,
                "url": "https://example.com/",
                "headers": {"X-Tenant": secrets[0]},
                "authentication": {"kind": "bearer", "token": secrets[1]},
            },
        ).json()
        path = f"/api/v1/endpoints/{endpoint['id']}/"
        changed = {"authentication": {"kind": "bearer", "token": secrets[2]}}
        assert api.patch(path, changed).status_code == 200
        secrets.append(api.post(f"{path}rotate-secret/").json()["secret"])
        api.get(f"{path}secret/")
        api_key, key = ApiKey.objects.create_key(name="billing")
        ApiKey.objects.update(revoked=True)
        stored = Endpoint.objects.get()
        secrets += [endpoint["secret"], key, api_key.hashed_key, str(stored.credentials)]
        secrets += [one.ciphertext for one in SigningSecret.objects.all()]
        api.delete(path)
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_jsonb(entry)::text FROM subscriptions_historyentry entry")
            history = "\n".join(row[0] for row in cursor.fetchall())
        assert "credentials_shown" in history
        assert [secret for secret in secrets if secret in history] == []

    def test_of_credentials_it_is_told_that_they_changed(self, make_endpoint: MakeEndpoint) -> None:
        endpoint = make_endpoint()
        endpoint.set_credentials(headers={"X-Tenant": "isfahan"})
        endpoint.save()
        forget()
        endpoint.set_credentials(headers={"X-Tenant": "kashan"})
        endpoint.save()
        assert only_entry().changes == {"credentials": None}
        assert only_entry().lines() == ["credentials: changed"]

    def test_a_reveal_is_in_it_and_in_the_log_whoever_asks(
        self,
        api: APIClient,
        admin_client: Client,
        make_endpoint: MakeEndpoint,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.INFO)
        endpoint = make_endpoint()
        assert api.get(f"/api/v1/endpoints/{endpoint.pk}/secret/").status_code == 200
        act(admin_client, ENDPOINTS, "reveal_secret", endpoint)
        revealed = entries(action="revealed")
        assert [entry.actor_kind for entry in revealed] == ["api_key", "user"]
        about = {(entry.kind, entry.object_id, entry.endpoint) for entry in revealed}
        assert about == {("signing_secret", endpoint.signing_secrets.get().pk, endpoint.pk)}
        told = f"was shown the signing secret of {endpoint.pk}"
        prefix = ApiKey.objects.get().prefix
        lines = [record.getMessage() for record in caplog.records]
        assert [line for line in lines if told in line] == [
            f"API key {prefix} {told}",
            f"admin {told}",
        ]

    def test_another_encryption_key_is_one_entry_for_a_chunk(
        self, make_endpoint: MakeEndpoint
    ) -> None:
        for _ in range(3):
            make_endpoint()
        forget()
        call_command("rotate_encryption_keys", stdout=io.StringIO())
        entry = only_entry()
        assert (entry.action, entry.kind, entry.count) == ("reencrypted", "signing_secret", 3)
        Endpoint.objects.update(description="noted again")
        assert len(entries()) == 4


class TestAdmin:
    HISTORY = reverse("admin:subscriptions_historyentry_changelist")

    def test_the_list_says_who_did_what(
        self, admin_client: Client, make_endpoint: MakeEndpoint
    ) -> None:
        endpoint = make_endpoint()
        act(admin_client, ENDPOINTS, "pause", endpoint)
        page = admin_client.get(self.HISTORY).content.decode()
        for words in ("admin", "127.0.0.1", "state: active → paused", endpoint.pk):
            assert words in page

    @pytest.mark.parametrize(
        ("query", "kinds"),
        [
            ({"kind__exact": "endpoint"}, ["endpoint"]),
            ({"action__exact": "deleted"}, []),
            ({"actor_kind__exact": "user"}, ["event_type"]),
            ({"q": "shirin"}, ["event_type"]),
            ({"q": "203.0.113.9"}, ["event_type"]),
            ({"q": "req_1"}, ["event_type"]),
            ({"q": "invoice.paid"}, ["event_type"]),
            ({"created": "hour", "kind__exact": "subscriber"}, ["subscriber"]),
        ],
    )
    def test_it_is_told_apart_by_who_what_and_when(
        self,
        admin_client: Client,
        make_endpoint: MakeEndpoint,
        query: dict[str, str],
        kinds: list[str],
    ) -> None:
        make_endpoint()
        with connection.execute_wrapper(Attributing(lambda: SOMEBODY)):
            EventType.objects.create(name="invoice.paid")
        found = admin_client.get(self.HISTORY, query).context["cl"].result_list
        assert [entry.kind for entry in found] == kinds

    def test_an_id_finds_all_that_concerns_it(
        self, admin_client: Client, make_endpoint: MakeEndpoint
    ) -> None:
        endpoint, _ = make_endpoint(), make_endpoint()
        for term, count in (
            (endpoint.pk, 3),
            (endpoint.subscriber_id, 7),
            (endpoint.signing_secrets.get().pk, 1),
        ):
            found = admin_client.get(self.HISTORY, {"q": term}).context["cl"].result_list
            assert len(found) == count

    def test_nobody_adds_changes_or_deletes_an_entry(
        self, admin_client: Client, subscriber: Subscriber
    ) -> None:
        entry = only_entry()
        name = "admin:subscriptions_historyentry"
        for url in (
            reverse(f"{name}_add"),
            page_of(entry),
            reverse(f"{name}_delete", args=[entry.pk]),
        ):
            assert admin_client.post(url, {"name": "else"}).status_code == 403
        act(admin_client, self.HISTORY, "delete_selected", entry, post="yes")
        assert entries() == [entry]
        assert 'name="_save"' not in admin_client.get(page_of(entry)).content.decode()

    def test_each_object_s_page_has_its_history(
        self, admin_client: Client, make_endpoint: MakeEndpoint
    ) -> None:
        endpoint = make_endpoint("invoice.paid")
        event_type = EventType.objects.create(name="invoice.paid", description="Money came.")
        key, _ = ApiKey.objects.create_key(name="billing")
        for row, words in (
            (endpoint, "pattern: invoice.paid"),
            (endpoint.subscriber, f"url: {endpoint.url}"),
            (event_type, "description: Money came."),
            (key, "name: billing"),
        ):
            url = page_of(row).replace("/change/", "/history/")
            assert words in admin_client.get(url).content.decode()


class TestApi:
    HISTORY = "/api/v1/history/"

    def test_an_entry_is_shown_whole(self, api: APIClient, make_endpoint: MakeEndpoint) -> None:
        endpoint = make_endpoint()
        answer = api.post(f"/api/v1/endpoints/{endpoint.pk}/pause/")
        [entry, *_] = api.get(self.HISTORY).json()["results"]
        row = entries()[-1]
        assert entry == {
            "id": row.pk,
            "at": row.at.isoformat().replace("+00:00", "Z"),
            "actor": {
                "kind": "api_key",
                "id": ApiKey.objects.get().prefix,
                "name": "the tests",
                "ip_address": "127.0.0.1",
            },
            "request_id": answer.headers["X-Request-ID"],
            "action": "changed",
            "kind": "endpoint",
            "object_id": endpoint.pk,
            "name": endpoint.url,
            "count": 1,
            "endpoint": endpoint.pk,
            "subscriber": endpoint.subscriber_id,
            "changes": {"state": ["active", "paused"]},
        }
        assert api.get(f"{self.HISTORY}{row.pk}/").json() == entry

    @pytest.mark.parametrize(
        ("query", "count"),
        [
            ({"kind": "endpoint"}, 2),
            ({"action": "changed"}, 0),
            ({"actor_kind": "user"}, 0),
            ({"actor_kind": "angarium", "kind": "subscriber"}, 1),
            ({"object_id": "*"}, 0),
        ],
    )
    def test_it_is_filtered(
        self, api: APIClient, make_endpoint: MakeEndpoint, query: dict[str, str], count: int
    ) -> None:
        endpoint, _ = make_endpoint(), make_endpoint()
        assert len(api.get(self.HISTORY, query).json()["results"]) == count
        of_one = api.get(self.HISTORY, {"endpoint": endpoint.pk}).json()["results"]
        assert {entry["endpoint"] for entry in of_one} == {endpoint.pk}
        assert len(of_one) == 3

    def test_a_bound_key_is_told_who_only_of_its_own_subscriber_s_keys(
        self, api: APIClient, admin_client: Client, make_endpoint: MakeEndpoint
    ) -> None:
        endpoint = make_endpoint()
        path = f"/api/v1/endpoints/{endpoint.pk}"
        bound = client_of(ApiKey(name="its own", subscriber=endpoint.subscriber))
        api.post(f"{path}/pause/")
        act(admin_client, ENDPOINTS, "resume", endpoint)
        bound.post(f"{path}/pause/")
        changes = bound.get(self.HISTORY, {"action": "changed"}).json()["results"]
        actors = [(entry["actor"]["kind"], entry["actor"]["name"]) for entry in changes]
        assert actors == [("api_key", "its own"), ("user", ""), ("api_key", "")]
        hidden = [
            (entry["actor"]["id"], entry["actor"]["ip_address"], entry["request_id"])
            for entry in changes[1:]
        ]
        assert hidden == [("", "", "")] * 2
        assert json.dumps(changes).count("127.0.0.1") == 1 + 3  # and thrice in the URL


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "198.51.100.7", "192.0.2.1"),
        (1, "198.51.100.7", "198.51.100.7"),
        (1, "made up, 198.51.100.7", "198.51.100.7"),
        (2, "made up, 198.51.100.7, 10.0.0.1", "198.51.100.7"),
        (2, "198.51.100.7", "192.0.2.1"),
        (1, "", "192.0.2.1"),
        (1, "::ffff:198.51.100.7", "198.51.100.7"),
        (1, "fe80::1%eth0", "fe80::1"),
        (1, "unknown", ""),
    ],
)
def test_an_address_is_believed_as_far_as_one_s_own_proxies_vouch_for_it(
    admin_client: Client,
    subscriber: Subscriber,
    make_endpoint: MakeEndpoint,
    configure: Configure,
    proxies: int,
    forwarded: str,
    address: str,
) -> None:
    configure(PROXIES=proxies)
    chosen = {"action": "pause", "_selected_action": make_endpoint().pk, "confirmed": "yes"}
    headers = {"X-Forwarded-For": forwarded}
    admin_client.post(ENDPOINTS, chosen, headers=headers, REMOTE_ADDR="192.0.2.1")
    assert entries()[-1].ip_address == address
