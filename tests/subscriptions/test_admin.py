import io
import json
import logging
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from rest_framework_api_key.models import APIKey

from subscriptions import encryption
from subscriptions.admin import pages
from subscriptions.history import HistoryEntry
from subscriptions.models import (
    ApiKey,
    Endpoint,
    EventType,
    Feed,
    Handshake,
    SigningSecret,
    Subscriber,
    Subscription,
)
from subscriptions.shapes import Payload, Shape
from tests.conftest import Configure, MakeEndpoint
from webhooks.formats import Format
from webhooks.keys import Kind
from webhooks.profiles import NO_ED25519

pytestmark = pytest.mark.django_db

ENDPOINTS = reverse("admin:subscriptions_endpoint_changelist")
GARBAGE = ["ep_nonsense", "ep_" + "z" * 32, "dlv_" + "0" * 32, "'\";--", "%_\\", "ü" * 300]


def page_of(row: object) -> str:
    meta = row._meta  # type: ignore[attr-defined]
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[quote(row.pk)])  # type: ignore[attr-defined]


def ask(client: Client, url: str, action: str, *rows: object, **more: str) -> str:
    """Choose an action for rows of a list; returns the page that follows."""
    chosen = [row.pk for row in rows]  # type: ignore[attr-defined]
    data = {"action": action, "_selected_action": chosen, **more}
    return client.post(url, data, follow=True).content.decode()


def act(client: Client, url: str, action: str, *rows: object, **more: str) -> str:
    """Choose an action for rows of a list, and confirm it."""
    return ask(client, url, action, *rows, confirmed="yes", **more)


def confirm(client: Client, url: str, page: str) -> str:
    """Press the button of the page that asks."""
    asked = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    return client.post(url, {**asked, "confirmed": "yes"}, follow=True).content.decode()


def listed(client: Client, url: str, **query: str) -> list[object]:
    return list(client.get(url, query).context["cl"].result_list)


def formset(patterns: list[str]) -> dict[str, str]:
    """The subscriptions inline, and what the form begins with, as a browser posts them."""
    data = {"format": "standard", "payload": "full", "batch_seconds": "5", "batch_bytes": "262144"}
    data |= {"subscriptions-TOTAL_FORMS": str(len(patterns)), "subscriptions-INITIAL_FORMS": "0"}
    for number, pattern in enumerate(patterns):
        data |= {
            f"subscriptions-{number}-pattern": pattern,
            f"subscriptions-{number}-enabled": "on",
        }
    return data


def new_endpoint(subscriber: Subscriber, **fields: str) -> dict[str, str]:
    """The form of a new endpoint, as a browser posts it."""
    return {
        "subscriber": subscriber.pk,
        "url": "https://example.com/",
        "signature_profile": "standard",
        "secret_kind": "hmac",
        **formset(["*"]),
        **fields,
    }


def form_of(endpoint: Endpoint) -> dict[str, str]:
    """The form of an endpoint that there is, as a browser posts it."""
    return {
        "url": endpoint.url,
        "signature_profile": endpoint.signature_profile,
        **formset([]),
        "signing_secrets-TOTAL_FORMS": "0",
        "signing_secrets-INITIAL_FORMS": "0",
    }


def change(client: Client, endpoint: Endpoint, **fields: str) -> None:
    response = client.post(page_of(endpoint), {**form_of(endpoint), **fields})
    assert response.status_code == 302


@pytest.mark.parametrize("model", [EventType, Subscriber, Endpoint, Subscription, ApiKey])
@pytest.mark.parametrize("term", GARBAGE)
def test_a_search_for_garbage_finds_nothing(
    admin_client: Client, model: type[Subscriber], term: str
) -> None:
    url = reverse(f"admin:subscriptions_{model._meta.model_name}_changelist")
    response = admin_client.get(url, {"q": term})
    assert response.status_code == 200
    assert list(response.context["cl"].result_list) == []


def test_endpoints_are_found_by_their_own_and_their_subscribers_id(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    endpoint, _ = make_endpoint(), make_endpoint(owner=Subscriber.objects.create(name="Khadija"))
    assert listed(admin_client, ENDPOINTS, q=f" {endpoint.pk} ") == [endpoint]
    assert listed(admin_client, ENDPOINTS, q=endpoint.subscriber_id) == [endpoint]
    assert listed(admin_client, ENDPOINTS, q=endpoint.subscriptions.get().pk) == [endpoint]


@pytest.mark.parametrize(
    ("term", "found"), [("orders.example", 1), ("the depot", 1), ("abbas", 2), ("nobody", 0)]
)
def test_endpoints_are_found_by_url_description_and_subscriber(
    admin_client: Client, make_endpoint: MakeEndpoint, term: str, found: int
) -> None:
    make_endpoint(url="https://orders.example.com/hook")
    make_endpoint(description="The depot in Kashan")
    assert len(listed(admin_client, ENDPOINTS, q=term)) == found


@pytest.mark.parametrize(
    ("choice", "urls"),
    [("healthy", ["https://a/"]), ("failing", ["https://b/"]), ("new", ["https://c/"])],
)
def test_endpoints_are_told_apart_by_their_health(
    admin_client: Client, make_endpoint: MakeEndpoint, choice: str, urls: list[str]
) -> None:
    now = timezone.now()
    make_endpoint(url="https://a/", last_success_at=now)
    make_endpoint(url="https://b/", last_success_at=now, failing_since=now)
    make_endpoint(url="https://c/")
    found = listed(admin_client, ENDPOINTS, health=choice)
    assert [str(endpoint) for endpoint in found] == urls


def test_the_list_says_how_each_endpoint_is(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    since = timezone.now().replace(2026, 3, 1, 2, 30)
    make_endpoint(state="disabled", failing_since=since)
    make_endpoint("invoice.*", "order.paid", last_success_at=timezone.now())
    make_endpoint(*(f"type{n}" for n in range(7)))
    page = admin_client.get(ENDPOINTS).content.decode()
    for words in [
        '<span class="mark bad">disabled</span>',
        "failing since 1 Mar 02:30",
        ">healthy<",
        "nothing delivered yet",
        "invoice.*, order.paid",
        "type4 and 2 more",
    ]:
        assert words in page


@pytest.mark.parametrize("before", ["active", "paused", "disabled"])
@pytest.mark.parametrize(("action", "after"), [("pause", "paused"), ("resume", "active")])
def test_chosen_endpoints_are_paused_and_resumed(
    admin_client: Client, make_endpoint: MakeEndpoint, before: str, action: str, after: str
) -> None:
    chosen, other = make_endpoint(state=before), make_endpoint(state=before)
    changed = int(before != after)
    assert f"{changed} of 1 endpoint {action}d" in act(admin_client, ENDPOINTS, action, chosen)
    chosen.refresh_from_db()
    other.refresh_from_db()
    assert (chosen.state, other.state) == (after, before)


@pytest.mark.parametrize("action", ["pause", "resume", "rotate_secret", "delete_for_good"])
def test_a_deleted_endpoint_stays_as_it_is(
    admin_client: Client, make_endpoint: MakeEndpoint, action: str
) -> None:
    endpoint = make_endpoint()
    endpoint.delete_for_good()
    act(admin_client, ENDPOINTS, action, endpoint)
    endpoint.refresh_from_db()
    assert (endpoint.state, endpoint.signing_secrets.count()) == ("deleted", 0)
    assert admin_client.post(page_of(endpoint), {"url": "https://a/"}).status_code == 403


def test_deleting_for_good_is_asked_first_and_says_how_many(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    chosen = [make_endpoint(), make_endpoint()]
    page = ask(admin_client, ENDPOINTS, "delete_for_good", *chosen)
    assert "2 endpoints will be deleted for good." in page
    assert "This cannot be undone." in page
    assert Endpoint.objects.existing().count() == 2

    hidden = dict.fromkeys(re.findall(r'name="_selected_action" value="([^"]+)"', page))
    assert set(hidden) == {endpoint.pk for endpoint in chosen}
    page = act(admin_client, ENDPOINTS, "delete_for_good", *chosen)
    assert "2 of 2 endpoints deleted for good" in page
    assert not Endpoint.objects.existing().exists()
    assert not SigningSecret.objects.exists()


def test_a_change_to_an_endpoint_writes_nothing_but_what_was_changed(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint(url="https://example.com/", description="old")
    with CaptureQueriesContext(connection) as captured:
        change(admin_client, endpoint, url=endpoint.url, description="new")
    endpoint.refresh_from_db()
    assert endpoint.description == "new"
    statements = [query["sql"] for query in captured]
    (update,) = (s for s in statements if s.startswith('UPDATE "subscriptions_endpoint"'))
    assert update.startswith('UPDATE "subscriptions_endpoint" SET "description" = \'new\' WHERE')
    (lock,) = (s for s in statements if "FOR NO KEY UPDATE" in s)
    assert "subscriptions_endpoint" in lock
    assert statements.index(lock) < statements.index(update)


@pytest.mark.parametrize("action", ["pause", "resume", "rotate_secret"])
def test_an_action_locks_the_endpoints_that_it_changes(
    admin_client: Client, make_endpoint: MakeEndpoint, action: str
) -> None:
    endpoint = make_endpoint()
    with CaptureQueriesContext(connection) as captured:
        act(admin_client, ENDPOINTS, action, endpoint)
    assert any("FOR NO KEY UPDATE OF" in query["sql"] for query in captured)


def secrets_in(page: str) -> list[str]:
    return re.findall(r"whsec_[\w+/=]+", page)


def test_a_new_endpoint_gets_a_secret_which_is_shown_once(
    admin_client: Client, subscriber: Subscriber
) -> None:
    data = new_endpoint(subscriber)
    url = reverse("admin:subscriptions_endpoint_add")
    response = admin_client.post(url, {**data, **formset(["invoice.*"])})
    shown = secrets_in(response.content.decode())
    assert "no-store" in response["Cache-Control"]
    endpoint = Endpoint.objects.get()
    assert shown == [endpoint.signing_secrets.get().reveal()]
    assert endpoint.subscriptions.get().pattern == "invoice.*"
    assert secrets_in(admin_client.get(ENDPOINTS).content.decode()) == []


def test_an_endpoint_with_an_address_that_is_not_allowed_is_refused(
    admin_client: Client, subscriber: Subscriber
) -> None:
    data = {**new_endpoint(subscriber), "url": "https://10.0.0.1/", **formset([])}
    response = admin_client.post(reverse("admin:subscriptions_endpoint_add"), data)
    assert "url" in response.context["adminform"].form.errors
    assert not Endpoint.objects.exists()


def test_a_rotated_secret_is_shown_once_and_the_old_one_expires(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint()
    shown = secrets_in(act(admin_client, ENDPOINTS, "rotate_secret", endpoint))
    assert shown == [endpoint.signing_secrets.get(expires_at=None).reveal()]
    assert endpoint.signing_secrets.count() == 2
    assert secrets_in(admin_client.get(ENDPOINTS).content.decode()) == []


def test_of_an_ed25519_secret_the_public_key_is_shown_and_never_the_private_one(
    admin_client: Client, subscriber: Subscriber
) -> None:
    url = reverse("admin:subscriptions_endpoint_add")
    data = {**new_endpoint(subscriber), "secret_kind": "ed25519"}
    pages = [admin_client.post(url, {**data, **formset([])}).content.decode()]
    endpoint = Endpoint.objects.get()
    pages += [act(admin_client, ENDPOINTS, "rotate_to_ed25519", endpoint)]
    old, new = endpoint.signing_secrets.order_by("id")
    pages += [act(admin_client, ENDPOINTS, "reveal_secret", endpoint)]
    pages += [admin_client.get(page_of(endpoint)).content.decode()]
    keys = [re.findall(r"whpk_[\w+/=]+", page) for page in pages]
    assert keys == [
        [old.public_key],
        [new.public_key],
        [new.public_key],
        [new.public_key, old.public_key],
    ]
    private = [encryption.decrypt(secret.ciphertext) for secret in (old, new)]
    assert not [one for one in private for page in pages if one in page]


@pytest.mark.parametrize(("kind", "added"), [("hmac", True), ("ed25519", False)])
def test_a_new_endpoint_has_a_signature_profile_that_goes_with_its_secret(
    admin_client: Client, subscriber: Subscriber, kind: str, added: bool
) -> None:
    data = {**new_endpoint(subscriber), "secret_kind": kind, "signature_profile": "stripe"}
    page = admin_client.post(reverse("admin:subscriptions_endpoint_add"), {**data, **formset([])})
    assert Endpoint.objects.filter(signature_profile="stripe").exists() == added
    assert (NO_ED25519 in page.content.decode()) != added


def test_a_new_endpoint_may_bring_the_secret_that_its_receiver_knows(
    admin_client: Client, subscriber: Subscriber
) -> None:
    secret = "the one they have known for years"
    data = new_endpoint(subscriber, signature_profile="github", secret=secret)
    admin_client.post(reverse("admin:subscriptions_endpoint_add"), data)
    assert SigningSecret.objects.get().reveal() == secret


def test_a_secret_that_the_profile_cannot_sign_with_is_refused_and_not_repeated(
    admin_client: Client, subscriber: Subscriber
) -> None:
    secret = "the one they have known for years"
    data = new_endpoint(subscriber, signature_profile="standard", secret=secret)
    page = admin_client.post(reverse("admin:subscriptions_endpoint_add"), data).content.decode()
    assert "A signing secret is" in page
    assert secret not in page
    assert not Endpoint.objects.exists()


def test_a_signature_profile_is_changed_where_the_secrets_go_with_it(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    endpoint, other = (
        make_endpoint(url="https://a.example/"),
        make_endpoint(url="https://b.example/"),
    )
    change(admin_client, endpoint, url=endpoint.url, signature_profile="github")
    endpoint.refresh_from_db()
    assert endpoint.signature_profile == "github"
    change(admin_client, endpoint, url=endpoint.url, description="as it was")
    endpoint.refresh_from_db()
    assert endpoint.signature_profile == "github"

    SigningSecret.objects.issue(other, kind=Kind.ED25519)
    response = admin_client.post(page_of(other), {**form_of(other), "signature_profile": "github"})
    assert "signature_profile" in response.context["adminform"].form.errors
    other.refresh_from_db()
    assert other.signature_profile == "standard"


def test_a_secret_that_the_profile_cannot_sign_with_is_not_issued(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint(signature_profile="slack")
    assert NO_ED25519 in act(admin_client, ENDPOINTS, "rotate_to_ed25519", endpoint)
    assert endpoint.signing_secrets.count() == 1


def test_replaced_secrets_are_expired_at_once(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint()
    newest = SigningSecret.objects.issue(endpoint)
    done = act(admin_client, ENDPOINTS, "expire_secrets", endpoint)
    assert "1 of 1 endpoint limited to the newest signing secret" in done
    assert list(endpoint.signing_secrets.all()) == [newest]


def test_revealing_a_secret_is_logged_without_it_and_not_kept_by_browsers(
    admin_client: Client, make_endpoint: MakeEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = make_endpoint()
    newest = SigningSecret.objects.issue(endpoint).reveal()
    chosen = {"action": "reveal_secret", "_selected_action": endpoint.pk}
    with caplog.at_level(logging.INFO):
        response = admin_client.post(ENDPOINTS, chosen)
    assert secrets_in(response.content.decode()) == [newest]
    assert "no-store" in response["Cache-Control"]
    [record] = [
        record for record in caplog.records if record.name == "subscriptions.admin.endpoints"
    ]
    assert record.getMessage() == f"admin was shown the signing secret of {endpoint.pk}"
    entry = HistoryEntry.objects.get(action="revealed")
    assert (entry.actor_name, entry.endpoint) == ("admin", endpoint.pk)
    assert newest not in caplog.text
    assert secrets_in(admin_client.get(ENDPOINTS, chosen).content.decode()) == []


def test_nobody_is_shown_a_secret_without_leave(
    staff_client: Callable[..., Client], make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint()
    client = staff_client("view_endpoint", "change_endpoint", "delete_endpoint")
    assert secrets_in(act(client, ENDPOINTS, "reveal_secret", endpoint)) == []
    assert not HistoryEntry.objects.filter(action="revealed").exists()


@pytest.mark.parametrize("action", ["rotate_secret", "rotate_to_ed25519"])
def test_a_new_secret_is_neither_in_a_cookie_nor_in_the_database(
    admin_client: Client, make_endpoint: MakeEndpoint, action: str
) -> None:
    endpoint = make_endpoint()
    act(admin_client, ENDPOINTS, action, endpoint)
    assert "messages" not in admin_client.cookies
    assert "_messages" not in admin_client.session


@pytest.mark.parametrize("action", ["rotate_secret", "rotate_to_ed25519", "reveal_secret"])
def test_secrets_are_shown_one_at_a_time(
    admin_client: Client, make_endpoint: MakeEndpoint, action: str
) -> None:
    page = act(admin_client, ENDPOINTS, action, make_endpoint(), make_endpoint())
    assert "Choose one endpoint" in page
    assert SigningSecret.objects.count() == 2


def test_an_api_key_is_shown_once_and_works_until_it_is_revoked(
    admin_client: Client, subscriber: Subscriber
) -> None:
    url = reverse("admin:subscriptions_apikey_add")
    asked = {
        "name": "billing",
        "scopes": ["emit", "read"],
        "subscriber": subscriber.pk,
        "rate": "5/s",
    }
    response = admin_client.post(url, asked)
    [key] = re.findall('<code class="secret">(.+?)</code>', response.content.decode())
    assert "no-store" in response["Cache-Control"]
    api_key = ApiKey.objects.get_from_key(key)
    made = {name: getattr(api_key, name) for name in asked}
    assert made == {**asked, "subscriber": subscriber}
    assert "messages" not in admin_client.cookies
    assert "_messages" not in admin_client.session

    keys = reverse("admin:subscriptions_apikey_changelist")
    assert key not in admin_client.get(keys).content.decode()
    assert "1 API key will be revoked." in ask(admin_client, keys, "revoke", api_key)
    assert ApiKey.objects.get_from_key(key) == api_key
    assert "1 of 1 API key revoked" in act(admin_client, keys, "revoke", api_key)
    assert "0 of 1 API key revoked" in act(admin_client, keys, "revoke", api_key)
    with pytest.raises(ApiKey.DoesNotExist):
        ApiKey.objects.get_from_key(key)


@pytest.mark.parametrize(
    "bad",
    [
        {"scopes": []},
        {"scopes": ["everything"]},
        {"rate": "fast"},
        {"subscriber": "sub_" + "0" * 32},
    ],
)
def test_an_api_key_that_makes_no_sense_is_not_made(
    admin_client: Client, bad: dict[str, str]
) -> None:
    url = reverse("admin:subscriptions_apikey_add")
    assert admin_client.post(url, {"name": "billing", "scopes": ["read"], **bad}).status_code == 200
    assert not ApiKey.objects.exists()


def test_an_api_key_s_page_tells_what_it_may_do(
    admin_client: Client, subscriber: Subscriber
) -> None:
    api_key, _ = ApiKey.objects.create_key(
        name="billing", scopes=["emit", "read"], subscriber=subscriber, rate="5/s"
    )
    page = admin_client.get(page_of(api_key)).content.decode()
    for shown in ("emit, read", subscriber.name, "5/s"):
        assert shown in page


def test_an_api_key_is_not_changed_and_the_packages_own_kind_is_not_offered(
    admin_client: Client,
) -> None:
    api_key, _ = ApiKey.objects.create_key(name="billing")
    assert admin_client.post(page_of(api_key), {"name": "else"}).status_code == 403
    assert not admin.site.is_registered(APIKey)


def test_an_event_type_keeps_its_name(admin_client: Client) -> None:
    kind = EventType.objects.create(name="invoice.paid")
    admin_client.post(
        page_of(kind),
        {"name": "invoice.late", "description": "Money came.", "schema_check": "refuse"},
    )
    assert list(EventType.objects.values_list("name", "description")) == [
        ("invoice.paid", "Money came.")
    ]


class TestCatalogue:
    NARROW: ClassVar = {"type": "object", "required": ["n"]}
    WIDE: ClassVar = {"type": "object"}
    IMPORT = "/admin/subscriptions/eventtype/import/"

    def test_a_schema_that_breaks_promises_takes_a_tick(self, admin_client: Client) -> None:
        kind = EventType.objects.create(name="invoice.paid", schema=self.NARROW)
        body = {"schema": json.dumps(self.WIDE), "schema_check": "refuse"}
        page = admin_client.post(page_of(kind), body)
        assert "$.n: It may be missing now." in page.content.decode()
        kind.refresh_from_db()
        assert kind.schema == self.NARROW
        accepted = admin_client.post(page_of(kind), {**body, "accept_breaking": "on"})
        assert accepted.status_code == 302
        kind.refresh_from_db()
        assert kind.schema == self.WIDE

    def test_a_schema_is_shown_on_several_lines_and_none_as_nothing(
        self, admin_client: Client
    ) -> None:
        shown = []
        for name, schema in (("invoice.paid", self.NARROW), ("invoice.late", None)):
            kind = EventType.objects.create(name=name, schema=schema)
            shown.append(
                admin_client.get(page_of(kind)).context["adminform"].form["schema"].value()
            )
        assert shown == [json.dumps(self.NARROW, indent=2), None]

    def test_it_is_exported_and_imported_as_a_file(self, admin_client: Client) -> None:
        EventType.objects.create(name="invoice.paid", group="Billing")
        exported = admin_client.get("/admin/subscriptions/eventtype/export/")
        assert "attachment" in exported["Content-Disposition"]
        EventType.objects.all().delete()
        for options, there in (({"dry_run": "on"}, False), ({}, True)):
            file = io.BytesIO(exported.content)
            page = admin_client.post(self.IMPORT, {"file": file, **options})
            assert "made: invoice.paid" in page.content.decode()
            assert EventType.objects.filter(group="Billing").exists() == there

    def test_a_file_that_is_none_or_breaks_promises_is_refused_with_the_reason(
        self, admin_client: Client
    ) -> None:
        EventType.objects.create(name="invoice.paid", schema=self.NARROW)
        wide = {"version": 1, "event_types": [{"name": "invoice.paid", "schema": self.WIDE}]}
        for content, says in (("{", "It is not JSON"), (json.dumps(wide), "$.n: It may be")):
            file = io.BytesIO(content.encode())
            page = admin_client.post(self.IMPORT, {"file": file}).content.decode()
            assert says in page
        assert EventType.objects.get().schema == self.NARROW

    def test_who_may_only_look_may_export_and_not_import(self, client: Client) -> None:
        user = User.objects.create_user("viewer", is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename="view_eventtype"))
        client.force_login(user)
        assert client.get("/admin/subscriptions/eventtype/export/").status_code == 200
        assert client.get(self.IMPORT).status_code == 403
        page = client.get("/admin/subscriptions/eventtype/").content.decode()
        assert 'href="export/"' in page
        assert 'href="import/"' not in page


def test_a_subscriber_counts_the_endpoints_that_exist(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint()
    make_endpoint().delete_for_good()
    page = admin_client.get(reverse("admin:subscriptions_subscriber_changelist")).content.decode()
    link = f'href="{ENDPOINTS}?subscriber={Subscriber.objects.get().pk}">1<'
    assert link in page
    assert link in admin_client.get(page_of(Subscriber.objects.get())).content.decode()


def test_endpoints_are_told_apart_by_their_subscriber(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    other = Subscriber.objects.create(name="Khadija")
    endpoint, _ = make_endpoint(owner=other), make_endpoint()
    response = admin_client.get(ENDPOINTS, {"subscriber": other.pk, "state__exact": "active"})
    assert list(response.context["cl"].result_list) == [endpoint]
    page = response.content.decode()
    assert f'<option value="{other.pk}" selected>Khadija</option>' in page
    assert '<input type="hidden" name="state__exact" value="active">' in page


@pytest.mark.parametrize("choice", ["garbage", "ep_" + "0" * 32, "sub_" + "0" * 32])
def test_a_subscriber_that_is_none_is_not_filtered_by(
    admin_client: Client, make_endpoint: MakeEndpoint, choice: str
) -> None:
    make_endpoint()
    response = admin_client.get(ENDPOINTS, {"subscriber": choice})
    assert (response.status_code, response["Location"]) == (302, f"{ENDPOINTS}?e=1")
    assert len(listed(admin_client, ENDPOINTS, subscriber="")) == 1


def test_subscribers_are_completed_for_the_filter_that_asks(
    admin_client: Client, subscriber: Subscriber
) -> None:
    field = {"app_label": "subscriptions", "model_name": "endpoint", "field_name": "subscriber"}
    found = admin_client.get(reverse("admin:autocomplete"), {"term": "abbas", **field})
    assert found.json()["results"] == [{"id": subscriber.pk, "text": subscriber.name}]


def test_a_list_that_is_cut_says_so_and_all_of_it_is_what_it_counts(
    admin_client: Client, make_endpoint: MakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "ROWS_COUNTED", 3)
    oldest, *newer = [make_endpoint() for _ in range(4)]
    page = admin_client.get(ENDPOINTS).content.decode()
    assert "3 endpoints" in page
    assert "There may be more" in page
    asked = ask(admin_client, ENDPOINTS, "pause", newer[0], select_across="1")
    assert "These are the first 3 of " in asked
    assert "3 of 3 endpoints paused" in confirm(admin_client, ENDPOINTS, asked)
    assert list(Endpoint.objects.filter(state="active")) == [oldest]


def test_a_list_that_is_whole_does_not_say_that_there_is_more(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint()
    assert "There may be more" not in admin_client.get(ENDPOINTS).content.decode()


def test_an_endpoint_is_told_how_much_it_can_bear(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint(url="https://example.com/")
    change(admin_client, endpoint, url=endpoint.url, max_in_flight="3")
    endpoint.refresh_from_db()
    assert endpoint.max_in_flight == 3


def test_the_shape_of_what_an_endpoint_gets_is_set_in_its_form(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint(url="https://example.com/")
    shape = {"format": "cloudevents", "payload": "projection", "gzip_above": "1000"}
    page = admin_client.post(page_of(endpoint), {**formset([]), "url": endpoint.url, **shape})
    assert "projection" in page.context["adminform"].form.errors
    change(admin_client, endpoint, url=endpoint.url, **shape, projection="{id: id}")
    endpoint.refresh_from_db()
    assert endpoint.shape == Shape(Format.CLOUDEVENTS, Payload.PROJECTION, "{id: id}", 1000)


def test_a_signing_secret_is_masked(admin_client: Client, make_endpoint: MakeEndpoint) -> None:
    page = admin_client.get(page_of(make_endpoint())).content.decode()
    assert "••••" in page
    assert secrets_in(page) == []


@pytest.mark.parametrize("model", [Subscriber, Endpoint, ApiKey])
def test_what_is_on_record_cannot_be_deleted_as_django_would(
    admin_client: Client, make_endpoint: MakeEndpoint, model: type[Subscriber]
) -> None:
    ApiKey.objects.create_key(name="billing")
    make_endpoint()
    row = model.objects.get()
    name = f"admin:subscriptions_{model._meta.model_name}"
    assert admin_client.post(reverse(f"{name}_delete", args=[row.pk])).status_code == 403
    assert "delete_selected" not in admin_client.get(reverse(f"{name}_changelist")).content.decode()


@pytest.fixture
def staff_client(client: Client) -> Callable[..., Client]:
    def log_in(*codenames: str) -> Client:
        user = User.objects.create_user("clerk", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client.force_login(user)
        return client

    return log_in


@pytest.mark.parametrize(
    ("permission", "actions"),
    [
        ("view_endpoint", []),
        ("change_endpoint", ["pause", "resume", "close_circuit", "verify"]),
        ("add_signingsecret", ["rotate_secret", "rotate_to_ed25519", "expire_secrets"]),
        ("reveal_signingsecret", ["reveal_secret"]),
        ("delete_endpoint", ["delete_for_good"]),
    ],
)
def test_each_action_takes_its_permission(
    staff_client: Callable[..., Client],
    make_endpoint: MakeEndpoint,
    permission: str,
    actions: list[str],
) -> None:
    make_endpoint()
    page = staff_client("view_endpoint", permission).get(ENDPOINTS).content.decode()
    assert re.findall('<option value="([a-z_0-9]+)"', page) == actions


@pytest.mark.parametrize("model", [EventType, Subscriber, Endpoint, Subscription, ApiKey])
def test_a_long_list_takes_no_more_queries_than_a_short_one(
    admin_client: Client, make_endpoint: MakeEndpoint, model: type[Subscriber]
) -> None:
    url = reverse(f"admin:subscriptions_{model._meta.model_name}_changelist")
    counts = []
    for rows in (2, 30):
        for n in range(model.objects.count(), rows):
            EventType.objects.create(name=f"type{n}")
            owner = Subscriber.objects.create(name=f"Subscriber {n}")
            make_endpoint("invoice.*", owner=owner)
            ApiKey.objects.create_key(name=f"key {n}")
        with CaptureQueriesContext(connection) as captured:
            assert len(listed(admin_client, url)) >= rows
        counts.append(len(captured))
    assert counts[0] == counts[1]


ADD = reverse("admin:subscriptions_endpoint_add")


@pytest.mark.parametrize(
    ("ticked", "required", "state"),
    [
        ({}, False, "active"),
        ({"require_handshake": "on"}, False, "unverified"),
        ({}, True, "unverified"),
    ],
)
def test_a_new_endpoint_is_challenged_where_the_form_or_the_setting_says_so(
    admin_client: Client,
    subscriber: Subscriber,
    configure: Configure,
    ticked: dict[str, str],
    required: bool,
    state: str,
) -> None:
    configure(REQUIRE_HANDSHAKE=required)
    admin_client.post(ADD, new_endpoint(subscriber, **ticked))
    endpoint = Endpoint.objects.get()
    assert endpoint.state == state
    assert Handshake.objects.filter(endpoint=endpoint).exists() == (state == "unverified")


def test_chosen_endpoints_are_challenged_and_feeds_left_alone(
    admin_client: Client, make_endpoint: MakeEndpoint, subscriber: Subscriber
) -> None:
    endpoint, feed = make_endpoint(), Feed.objects.open(subscriber)
    for action, done in [("verify", "challenged"), ("pause", "paused"), ("resume", "resumed")]:
        page = act(admin_client, ENDPOINTS, action, endpoint, feed)
        assert f"1 of 2 endpoints {done}" in page
    endpoint.refresh_from_db()
    feed.refresh_from_db()
    assert (endpoint.state, feed.state) == ("unverified", "feed")


def test_a_circuit_shows_how_it_goes_on_and_is_closed_by_hand(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint()
    now = timezone.now()
    opened = {"openings": 1, "circuit_opened_at": now}
    for columns, said in (
        ({"circuit": "open", "probe_at": now + timedelta(hours=1), "probe": None}, "to be probed"),
        ({"circuit": "open", "probe_at": now}, "the next delivery probes it"),
        ({"circuit": "half_open", "probe_at": None, "probe": uuid4()}, "a delivery probes it"),
    ):
        Endpoint.objects.update(**opened, **columns)
        assert said in admin_client.get(ENDPOINTS).content.decode()
    assert "1 of 1 endpoint given a closed circuit" in act(
        admin_client, ENDPOINTS, "close_circuit", endpoint
    )
    endpoint.refresh_from_db()
    assert endpoint.takes_deliveries


def test_one_that_moves_to_another_host_is_challenged_anew(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint(url="https://example.com/")
    now = timezone.now()
    Handshake.objects.create(endpoint=endpoint, required_at=now, verified_at=now)
    change(admin_client, endpoint, url="https://example.com/elsewhere")
    endpoint.refresh_from_db()
    assert endpoint.state == "active"
    change(admin_client, endpoint, url="https://other.example.com/")
    endpoint.refresh_from_db()
    assert endpoint.state == "unverified"


@pytest.mark.parametrize(
    ("handshake", "shown"),
    [
        (None, ["not required"]),
        ({}, ["about to be sent"]),
        ({"verified_at": True}, ["verified <time"]),
        (
            {"tried_at": True, "tries": 2, "status": 200, "error": "no <echo>", "due_at": True},
            ["try 2", "no &lt;echo&gt; (200)"],
        ),
        (
            {"tried_at": True, "tries": 5, "error": "no", "response_body": "<script>"},
            ["try 5", "it was the last", "&lt;script&gt;"],
        ),
    ],
)
def test_an_endpoints_page_tells_how_it_goes_with_its_challenge(
    admin_client: Client,
    make_endpoint: MakeEndpoint,
    handshake: dict[str, Any] | None,
    shown: list[str],
) -> None:
    endpoint, now = make_endpoint(), timezone.now()
    if handshake is not None:
        columns = {name: now if value is True else value for name, value in handshake.items()}
        Handshake.objects.create(endpoint=endpoint, required_at=now, **columns)
    page = admin_client.get(page_of(endpoint)).content.decode()
    assert [words for words in shown if words not in page] == []
    assert "<script>" not in page


def test_a_url_that_the_subscriber_has_is_warned_of(
    admin_client: Client, make_endpoint: MakeEndpoint, subscriber: Subscriber
) -> None:
    there = make_endpoint(url="https://EXAMPLE.com:443/hook")
    form = new_endpoint(subscriber, url="https://example.com/hook")
    page = admin_client.post(ADD, form).content.decode()
    assert f"has this URL already ({there.pk})" in page
    assert Endpoint.objects.count() == 2


def test_subscribers_are_given_a_feed_each_and_no_second_one(
    admin_client: Client, subscriber: Subscriber
) -> None:
    other = Subscriber.objects.create(name="Khadija")
    Feed.objects.open(other)
    page = act(
        admin_client,
        reverse("admin:subscriptions_subscriber_changelist"),
        "add_feed",
        subscriber,
        other,
    )
    assert "1 of 2 subscribers given a feed" in page
    feed = Feed.objects.get(endpoint__subscriber=subscriber).endpoint
    assert page_of(feed) in page


def test_a_feeds_page_takes_its_subscriptions_and_nothing_that_concerns_sending(
    admin_client: Client, subscriber: Subscriber
) -> None:
    feed = Feed.objects.open(subscriber)
    page = admin_client.get(page_of(feed)).content.decode()
    for name in ("url", "format", "headers", "max_in_flight", "batch_events"):
        assert f'name="{name}"' not in page
    forged = {**formset(["invoice.*"]), "url": "https://example.com/", "headers": "X-A: b"}
    assert admin_client.post(page_of(feed), forged).status_code == 302
    feed.refresh_from_db()
    assert (feed.url, feed.state, feed.credentials) == ("", "feed", None)
    assert feed.subscriptions.get().pattern == "invoice.*"
    assert ">feed</span>" in admin_client.get(ENDPOINTS).content.decode()


@pytest.mark.parametrize(
    ("permission", "offered"), [("add_endpoint", True), ("change_endpoint", False)]
)
def test_giving_a_feed_takes_the_permission_to_add_an_endpoint(
    staff_client: Callable[..., Client], subscriber: Subscriber, permission: str, offered: bool
) -> None:
    client = staff_client("view_subscriber", permission)
    page = client.get(reverse("admin:subscriptions_subscriber_changelist")).content.decode()
    assert ("add_feed" in page) == offered


SUBSCRIPTIONS = reverse("admin:subscriptions_subscription_changelist")


def test_what_an_endpoint_asks_for_is_written_on_its_page(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint("a")
    asked = {
        **formset(["invoice.*"]),
        "subscriptions-0-channels": "us,eu,us",
        "subscriptions-0-filter": "amount > `100`",
    }
    change(admin_client, endpoint, url="https://example.com/", **asked)
    added = endpoint.subscriptions.get(pattern="invoice.*")
    assert (added.channels, added.filter) == (["eu", "us"], "amount > `100`")
    assert page_of(added) in admin_client.get(page_of(endpoint)).content.decode()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"filter": "a["}, "Column 3"),
        ({"channels": "a b"}, "is not a channel"),
        ({"filter": "b"}, "such a subscription already"),
    ],
)
def test_a_subscription_that_makes_no_sense_is_refused(
    admin_client: Client, make_endpoint: MakeEndpoint, fields: dict[str, str], said: str
) -> None:
    endpoint = make_endpoint("a")
    subscription = endpoint.subscriptions.get()
    Subscription.objects.create(endpoint=endpoint, pattern="a", filter="b")
    page = admin_client.post(page_of(subscription), fields).content.decode()
    assert said in page
    secrets = {"signing_secrets-TOTAL_FORMS": "0", "signing_secrets-INITIAL_FORMS": "0"}
    rows = {f"subscriptions-0-{name}": value for name, value in fields.items()}
    body = {"url": "https://example.com/", **formset(["a"]), **secrets, **rows}
    page = admin_client.post(page_of(endpoint), body).content.decode()
    assert said in page
    assert endpoint.subscriptions.count() == 2


def test_the_same_subscription_twice_at_once_is_refused(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint("a")
    secrets = {"signing_secrets-TOTAL_FORMS": "0", "signing_secrets-INITIAL_FORMS": "0"}
    body = {"url": "https://example.com/", **formset(["b", "b"]), **secrets}
    assert admin_client.post(page_of(endpoint), body).status_code == 200
    assert endpoint.subscriptions.count() == 1


def test_another_filter_begins_with_no_failures(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint("a").subscriptions.update(filter="sum(n)", filter_failures=3, filter_error="x")
    subscription = Subscription.objects.get()
    assert "failed 3 times" in admin_client.get(SUBSCRIPTIONS).content.decode()
    admin_client.post(page_of(subscription), {"filter": "sum(n)", "enabled": "on"})
    subscription.refresh_from_db()
    assert subscription.filter_failures == 3
    admin_client.post(page_of(subscription), {"filter": "n", "enabled": "on"})
    subscription.refresh_from_db()
    assert (subscription.filter, subscription.filter_failures) == ("n", 0)


def test_subscriptions_are_found_by_their_own_id_and_by_whose_they_are(
    admin_client: Client, make_endpoint: MakeEndpoint
) -> None:
    subscription = make_endpoint("a").subscriptions.get()
    make_endpoint("b", owner=Subscriber.objects.create(name="Khadija"))
    endpoint = subscription.endpoint
    for term in (subscription.pk, endpoint.pk, endpoint.subscriber_id, "a"):
        assert listed(admin_client, SUBSCRIPTIONS, q=term) == [subscription], term
