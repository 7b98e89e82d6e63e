"""Each list of the admin, the API and the portal, with each filter that it offers, the pages that
open from them, and what answers cost.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from deliveries.models import DeadLetter, Delivery
from subscriptions.ids import from_uuid, lowest_uuid_at
from subscriptions.models import ApiKey, Endpoint
from subscriptions.portal_access import sign_link
from tests.api_client import client_of
from tests.seeding import Seeded

# Tuples that were read in this transaction: by scans of tables, and by indexes.
READ = """
    SELECT sum(pg_stat_get_xact_tuples_returned(oid)) FROM pg_class
     WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace
"""


@dataclass(frozen=True)
class Page:
    name: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, Any] | None = None
    """What is posted to it, if it is no page that is just opened."""

    @property
    def url(self) -> str:
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    def ask(self, client: Client | APIClient) -> None:
        answer = client.get(self.url) if self.form is None else client.post(self.url, self.form)
        assert answer.status_code == 200, (self, answer.status_code)


@dataclass(frozen=True)
class Cost:
    queries: int
    rows: int
    """Read by PostgreSQL to answer, be it from tables or from indexes."""


def cost(client: Client | APIClient, page: Page) -> Cost:
    """What it takes to answer. A transaction of its own is counted, unless there is one."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(READ)
        (before,) = cursor.fetchone()
        with CaptureQueriesContext(connection) as queries:
            page.ask(client)
        cursor.execute(READ)
        (after,) = cursor.fetchone()
    asked = [query for query in queries if "SAVEPOINT" not in query["sql"]]
    return Cost(len(asked), int(after - before))


def everything(seeded: Seeded) -> Iterator[tuple[str, Client | APIClient, Page]]:
    """All pages, each with a client that may see it, and what that is called."""
    admin = Client()
    admin.force_login(User.objects.create_superuser("bench"))
    for page in (*admin_pages(seeded), *opened_pages(seeded), *confirmations()):
        yield "admin", admin, page
    api = _api("for all")
    for page in api_pages(seeded):
        yield "API", api, page
    for who, endpoint in seeded.all:
        own = _api(f"of {who}", subscriber=endpoint.subscriber)
        for page in own_pages():
            yield f"API, {who} subscriber's key", own, page
        visitor = Client()
        visitor.post("/portal/enter/", {"link": sign_link(endpoint.subscriber)})
        for page in portal_pages(endpoint):
            yield f"portal, {who} subscriber", visitor, page


def _api(name: str, **bound: Any) -> APIClient:
    key = ApiKey(name=name, scopes=[ApiKey.Scope.READ], rate="100000/s", **bound)
    key.last_used_at = timezone.now()
    return client_of(key)


def admin_pages(seeded: Seeded) -> Iterator[Page]:
    deliveries, events, letters, history, endpoints, subscribers = (
        f"/admin/{model}/"
        for model in (
            *("deliveries/delivery", "deliveries/event", "deliveries/deadletter"),
            *("subscriptions/historyentry", "subscriptions/endpoint", "subscriptions/subscriber"),
        )
    )
    for period in ("hour", "day", "week"):
        yield Page(f"dashboard, {period}", "/admin/", {"period": period})
    for name, path, prefix in (
        ("deliveries", deliveries, "dlv"),
        ("events", events, "evt"),
        ("dead letters", letters, "dead"),
        ("history", history, "hist"),
    ):
        yield Page(name, path, {})
        yield Page(f"{name}, deep down", path, {"older_than": deep(prefix)})
        yield Page(f"{name}, the oldest first", path, {"o": "1"})
        yield Page(f"{name}, of the last day", path, {"created": "day"})
    for state in (*("delivered", "dead", "discarded"), *UNDER_WAY, *TOGETHER):
        yield Page(f"deliveries, {state}", deliveries, {"state": state})
    span = f"{deep_time().isoformat()}/{(deep_time() + timedelta(hours=2)).isoformat()}"
    yield Page("deliveries, dead in two hours", deliveries, {"state": "dead", "created": span})
    yield Page("deliveries, dead in a week", deliveries, {"state": "dead", "created": "week"})
    for who, whose in seeded.all:
        owner, endpoint = whose.subscriber_id, whose.pk
        yield Page(f"deliveries of {who} subscriber", deliveries, {"subscriber": owner})
        yield Page(
            f"deliveries of {who} subscriber, dead",
            deliveries,
            {"subscriber": owner, "state": "dead"},
        )
        yield Page(f"deliveries of {who} endpoint", deliveries, {"q": endpoint})
        yield Page(
            f"deliveries of {who} endpoint, dead", deliveries, {"q": endpoint, "state": "dead"}
        )
        yield Page(f"events of {who} subscriber", events, {"q": owner})
        yield Page(f"dead letters of {who} subscriber", letters, {"subscriber": owner})
        yield Page(f"history of {who} endpoint", history, {"q": endpoint})
    for often, type_ in TYPES:
        yield Page(f"deliveries of {often} type", deliveries, {"q": type_})
        yield Page(f"events of {often} type", events, {"q": type_})
        yield Page(f"dead letters of {often} type", letters, {"q": type_})
    yield Page("dead letters, open", letters, {"resolution": "open"})
    yield Page("dead letters, recovered", letters, {"resolution": "recovered"})
    yield Page("dead letters, gone", letters, {"reason__exact": "gone"})
    yield Page("dead letters by their error", letters, {"q": "answered 404"})
    yield Page("history, of operators", history, {"actor_kind__exact": "user"})
    yield Page("history, replayed", history, {"action__exact": "replayed"})
    yield Page("endpoints", endpoints, {})
    yield Page("endpoints, open circuits", endpoints, {"circuit__in": "open,half_open"})
    yield Page("subscribers", subscribers, {})


def opened_pages(seeded: Seeded) -> Iterator[Page]:
    """Those of one thing, which tell what belongs to it."""
    for who, whose in seeded.all:
        yield Page(f"{who} endpoint", f"/admin/subscriptions/endpoint/{whose.pk}/change/")
        owner = whose.subscriber_id
        yield Page(f"{who} subscriber", f"/admin/subscriptions/subscriber/{owner}/change/")
    for state in ("delivered", "dead", "waiting"):
        one = Delivery.objects.filter(state=state).latest("pk")
        event = f"/admin/deliveries/event/{one.event_id}"
        yield Page(f"a {state} delivery", f"/admin/deliveries/delivery/{one.pk}/change/")
        yield Page(f"event of a {state} delivery", f"{event}/change/")
        yield Page(
            f"a {state} delivery explained", f"{event}/explain/", {"endpoint": one.endpoint_id}
        )
    letter = DeadLetter.objects.filter(resolution="").latest("pk")
    yield Page("a dead letter", f"/admin/deliveries/deadletter/{letter.pk}/change/")


def confirmations() -> Iterator[Page]:
    """What asks whether all rows of a list's page are meant."""
    for name, model, rows, action in (
        ("retrying", "delivery", Delivery.objects.filter(state="waiting"), "retry_now"),
        ("redriving", "deadletter", DeadLetter.objects.filter(resolution=""), "redrive"),
    ):
        chosen = list(rows.order_by("-pk").values_list("pk", flat=True)[:CHOSEN])
        form = {"action": action, "_selected_action": chosen}
        yield Page(f"confirmation of {name}", f"/admin/deliveries/{model}/", form=form)


def portal_pages(whose: Endpoint) -> Iterator[Page]:
    """What a subscriber sees of its own."""
    yield Page("endpoints", "/portal/endpoints/")
    yield Page("its endpoint", f"/portal/endpoints/{whose.pk}/")
    yield Page("deliveries", "/portal/deliveries/")
    for state in ("delivered", "dead", "waiting"):
        yield Page(f"deliveries, {state}", "/portal/deliveries/", {"state": state})
    yield Page("deliveries of its endpoint", "/portal/deliveries/", {"endpoint": whose.pk})
    for often, type_ in TYPES:
        yield Page(f"deliveries of {often} type", "/portal/deliveries/", {"type": type_})
    yield Page("dead letters", "/portal/dead-letters/")
    yield Page("replays", "/portal/replays/")
    yield Page("event types", "/portal/event-types/")


def api_pages(seeded: Seeded) -> Iterator[Page]:
    deliveries, events, letters, history = (
        f"/api/v1/{name}/" for name in ("deliveries", "events", "dead-letters", "history")
    )
    for name, path in (
        *(("deliveries", deliveries), ("events", events)),
        *(("dead letters", letters), ("history", history)),
    ):
        yield Page(name, path, {})
    for state in ("delivered", "dead", "discarded", *UNDER_WAY):
        yield Page(f"deliveries, {state}", deliveries, {"state": state})
    for who, whose in seeded.all:
        owner, endpoint = whose.subscriber_id, whose.pk
        yield Page(f"deliveries of {who} subscriber", deliveries, {"subscriber": owner})
        yield Page(f"deliveries of {who} endpoint", deliveries, {"endpoint": endpoint})
        yield Page(
            f"deliveries of {who} endpoint, dead",
            deliveries,
            {"endpoint": endpoint, "state": "dead"},
        )
        yield Page(f"events of {who} subscriber", events, {"subscriber": owner})
        yield Page(f"dead letters of {who} subscriber", letters, {"subscriber": owner})
    for often, type_ in TYPES:
        yield Page(f"events of {often} type", events, {"type": type_})


def own_pages() -> Iterator[Page]:
    """What a key that is bound to a subscriber sees."""
    for name in ("deliveries", "events", "dead-letters", "history"):
        yield Page(f"own {name.replace('-', ' ')}", f"/api/v1/{name}/", {})


CHOSEN = 50
"""Rows that are chosen of a list."""
UNDER_WAY = ("pending", "sending", "waiting", "held", "gathering", "queued", "batched")
TOGETHER = ("on_its_way", "overdue", "delivered_or_dead")
TYPES = [("a frequent", "seeded.type_0"), ("a rare", "seeded.type_19"), ("no", "seeded.none")]


def deep_time() -> Any:
    return timezone.now() - timedelta(days=5)


def deep(prefix: str) -> str:
    return from_uuid(prefix, lowest_uuid_at(deep_time()))
