"""To a key that is bound to one subscriber nothing exists but what is that subscriber's."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from django.db.models import Model, Q
from django.utils import timezone
from rest_framework.test import APIClient

from deliveries.emit import emit
from deliveries.models import (
    Attempt,
    DeadLetter,
    DeadLetterJob,
    Delivery,
    Erasure,
    Event,
    Replay,
)
from subscriptions.history import HistoryEntry
from subscriptions.models import (
    ApiKey,
    Endpoint,
    EventType,
    Feed,
    SigningSecret,
    Subscriber,
    Subscription,
)
from tests.api_client import client_of, faults
from tests.api_routes import ROUTES, Route

pytestmark = pytest.mark.django_db

MODELS: list[type[Model]] = [
    *(Attempt, DeadLetter, Delivery, Endpoint, Event, EventType, Replay),
    *(SigningSecret, Subscriber, Subscription),
]


@dataclass(frozen=True, slots=True)
class Tenant:
    """A subscriber, and one row of each kind that is its own."""

    name: str
    rows: dict[type[Model], Any]

    def __getitem__(self, model: type[Model]) -> str:
        key: str = self.rows[model].pk
        return key

    def marks(self) -> set[str]:
        """Whatever would show that one saw something of this tenant."""
        deliveries = Delivery.objects.filter(endpoint__subscriber=self[Subscriber])
        secrets = SigningSecret.objects.filter(endpoint=self[Endpoint])
        return {
            self.name,
            *(row.pk for row in self.rows.values()),
            *deliveries.values_list("pk", flat=True),
            *(secret.reveal() for secret in secrets),
        }


def move_in(name: str) -> Tenant:
    subscriber = Subscriber.objects.create(name=name, external_id=f"{name}-42")
    endpoint = Endpoint.objects.create(
        subscriber=subscriber, url=f"http://127.0.0.1:9/{name}", description=name
    )
    SigningSecret.objects.issue(endpoint)
    Subscription.objects.create(endpoint=endpoint, pattern="shared.*")
    subscription = Subscription.objects.create(endpoint=endpoint, pattern=f"{name}.*")
    Subscription.objects.create(endpoint=Feed.objects.open(subscriber), pattern=f"{name}.paid")
    event = emit(
        f"{name}.paid", {"whose": name}, subscriber=subscriber, idempotency_key=f"{name}-key"
    )
    now = timezone.now()
    delivery = Delivery.objects.get(event=event, endpoint=endpoint)
    Delivery.objects.filter(pk=delivery.pk).update(state="dead", ended_at=now, attempt_number=1)
    Attempt.objects.create(
        delivery=delivery,
        number=1,
        outcome="bad_status",
        duration_ms=1,
        error=name,
        response_body=name,
        ended_at=now,
    )
    letter = DeadLetter.objects.create(
        delivery=delivery, reason="exhausted", last_error=name, died_at=now
    )
    entry = HistoryEntry.objects.get(kind="endpoint", object_id=endpoint.pk)
    job = DeadLetterJob.objects.create(
        action="redrive", selection={}, subscriber=subscriber, matched=1, up_to=uuid4()
    )
    erasure = Erasure.objects.create(subscriber=subscriber.pk)
    replay = Replay.objects.create(
        endpoint=endpoint, states=["dead"], until=now, state="cancelled", ended_at=now
    )
    owned = [subscriber, endpoint, subscription, event, delivery, letter, entry]
    owned += [job, erasure, replay]
    return Tenant(name, {type(row): row for row in owned})


@pytest.fixture
def ours() -> Tenant:
    return move_in("abbas")


@pytest.fixture
def theirs() -> Tenant:
    return move_in("croesus")


@pytest.fixture
def shared(ours: Tenant, theirs: Tenant) -> Event:
    """An event for everybody, on its way to both."""
    EventType.objects.create(name="shared.made")
    return emit("shared.made", {"n": 1}, idempotency_key="the producer's")


class Watch:
    """Sends what a bound key may try, and sees that nothing of another tenant's is told."""

    def __init__(self, client: APIClient, other: Tenant) -> None:
        self.client = client
        self.marks = other.marks()

    def send(self, method: str, path: str, body: Any = None) -> Any:
        response = getattr(self.client, method)(path, body)
        answer = f"{response.headers}{text_of(response)}"
        asked = f"{path}{json.dumps(body)}"
        assert [mark for mark in self.marks if mark in answer and mark not in asked] == []
        return response


def text_of(response: Any) -> str:
    content: bytes = b"".join(response) if response.streaming else response.content
    return content.decode()


@pytest.fixture
def bound(ours: Tenant, theirs: Tenant, shared: Event) -> Iterator[Watch]:
    """A key of ours with every scope; at the end nothing of theirs has changed."""
    key = ApiKey(name="ours", subscriber=ours.rows[Subscriber])
    before = everything_of(theirs)
    yield Watch(client_of(key), theirs)
    assert everything_of(theirs) == before


def everything_of(tenant: Tenant) -> list[Any]:
    subscriber = tenant[Subscriber]
    return [
        list(rows.order_by("pk").values())
        for rows in (
            Subscriber.objects.filter(pk=subscriber),
            Endpoint.objects.filter(subscriber=subscriber),
            Subscription.objects.filter(endpoint__subscriber=subscriber),
            SigningSecret.objects.filter(endpoint__subscriber=subscriber),
            Event.objects.filter(Q(subscriber=subscriber) | Q(subscriber=None)),
            Delivery.objects.filter(endpoint__subscriber=subscriber),
            Attempt.objects.filter(delivery__endpoint__subscriber=subscriber),
            DeadLetter.objects.filter(delivery__endpoint__subscriber=subscriber),
            Replay.objects.filter(endpoint__subscriber=subscriber),
            EventType.objects.all(),
        )
    ]


def model_of(route: Route) -> type[Model]:
    model: type[Model] = route.view.queryset.model
    return model


def unknown(key: str) -> str:
    """An id of the same kind that nothing has."""
    return f"{key.partition('_')[0]}_{'0' * 32}"


def told(response: Any, key: str) -> tuple[int, str]:
    """An answer, with the ids taken out that are the request's own."""
    body = response.json() if response.content else {}
    body.pop("request_id", None)
    return response.status_code, json.dumps(body).replace(key, "…")


def query_of(route: Route, tenant: Tenant) -> dict[str, str] | None:
    """What a route must be asked with, if anything."""
    query = QUERIES.get(route.template)
    return None if query is None else query(tenant)


def of_rows(*, writes: bool | None = None) -> list[Route]:
    """The routes to one row of somebody's; the catalogue is everybody's."""
    return [
        route
        for route in ROUTES
        if route.is_detail and model_of(route) != EventType and writes in (None, route.writes)
    ]


REFERENCES = {
    "/api/v1/endpoints/": (
        lambda tenant: {"subscriber": tenant[Subscriber], "url": "https://example.com/new"}
    ),
    "/api/v1/subscriptions/": lambda tenant: {"endpoint": tenant[Endpoint], "pattern": "a.b"},
    "/api/v1/events/": (
        lambda tenant: {"subscriber": tenant[Subscriber], "type": "a.b", "data": None}
    ),
    "/api/v1/replays/": lambda tenant: {"endpoint": tenant[Endpoint]},
}
"""For each route that makes something of somebody's, a body that names whose."""

QUERIES = {
    "/api/v1/events/{}/explain/": lambda tenant: {"endpoint": tenant[Endpoint]},
}
"""What is asked for in the query, where a route takes that."""

TRY = "/api/v1/events/try-subscription/"
DRY_RUN = "/api/v1/replays/dry-run/"
IN_BULK = ["/api/v1/dead-letters/redrive/", "/api/v1/dead-letters/discard/"]


@pytest.mark.parametrize("route", of_rows(), ids=str)
def test_what_is_another_s_is_not_there(bound: Watch, theirs: Tenant, route: Route) -> None:
    key = theirs[model_of(route)]
    answer = bound.send(route.method, route.path(key))
    assert (answer.status_code, faults(answer)) == (404, ["detail"])
    nobody_s = bound.send(route.method, route.path(unknown(key)))
    assert told(answer, key) == told(nobody_s, unknown(key))


@pytest.mark.parametrize("route", of_rows(writes=False), ids=str)
def test_what_is_one_s_own_is_there_and_shows_nothing_of_another_s(
    bound: Watch, ours: Tenant, route: Route
) -> None:
    query = query_of(route, ours)
    answer = bound.send(route.method, route.path(ours[model_of(route)]), query)
    assert answer.status_code == 200


@pytest.mark.parametrize("route", of_rows(writes=False), ids=str)
def test_a_key_that_is_not_bound_sees_everybody_s(
    api: APIClient, ours: Tenant, theirs: Tenant, route: Route
) -> None:
    for tenant in (ours, theirs):
        answer = api.get(route.path(tenant[model_of(route)]), query_of(route, tenant))
        assert answer.status_code == 200
        text = text_of(answer)
        assert any(mark in text for mark in tenant.marks())


@pytest.mark.parametrize("route", [r for r in ROUTES if r.action == "list"], ids=str)
def test_a_list_has_one_s_own_alone_however_it_is_filtered(
    api: APIClient, bound: Watch, theirs: Tenant, route: Route
) -> None:
    def found(client: Any, **query: str) -> int:
        return len(client("get", route.path(), query).json()["results"])

    everything = {"resolution": "any"} if model_of(route) == DeadLetter else {}
    seen = found(bound.send, **everything)
    assert seen > 0
    by_name = {"subscriber": Subscriber, "endpoint": Endpoint, "event": Event}
    for name in route.view.filter_class().fields:
        if name in by_name:
            assert found(bound.send, **{name: theirs[by_name[name]]}) == 0
    if model_of(route) == Subscriber:
        assert found(bound.send, external_id="croesus-42") == 0
    if model_of(route) != EventType:
        assert len(api.get(route.path(), everything).json()["results"]) > seen


def test_the_walk_knows_every_route_that_makes_or_changes_several() -> None:
    others = {route.template for route in ROUTES if route.writes and not route.is_detail}
    refused_to_bound_keys = {
        *("/api/v1/event-types/", "/api/v1/subscribers/"),
        "/api/v1/catalogue/import/",
    }
    assert others == {*REFERENCES, *IN_BULK, TRY, DRY_RUN} | refused_to_bound_keys


@pytest.mark.parametrize("path", REFERENCES)
def test_a_body_that_names_another_s_is_refused_like_one_that_names_nobody_s(
    bound: Watch, ours: Tenant, theirs: Tenant, path: str
) -> None:
    [field] = {"subscriber", "endpoint"} & set(REFERENCES[path](theirs))
    body = REFERENCES[path](theirs)
    answer = bound.send("post", path, body)
    assert (answer.status_code, faults(answer)) == (400, [field])
    nobody_s = bound.send("post", path, {**body, field: unknown(body[field])})
    assert told(answer, body[field]) == told(nobody_s, unknown(body[field]))
    assert bound.send("post", path, REFERENCES[path](ours)).status_code == 201


@pytest.mark.parametrize(
    ("model", "path"),
    [(Endpoint, "/api/v1/endpoints/{}/"), (Subscription, "/api/v1/subscriptions/{}/")],
)
@pytest.mark.parametrize("field", ["subscriber", "endpoint"])
def test_nothing_of_one_s_own_is_moved_to_another(
    bound: Watch, ours: Tenant, theirs: Tenant, model: type[Model], path: str, field: str
) -> None:
    owner = {"subscriber": Subscriber, "endpoint": Endpoint}[field]
    answer = bound.send("patch", path.format(ours[model]), {field: theirs[owner]})
    assert (answer.status_code, faults(answer)) == (400, [field])


@pytest.mark.parametrize("path", IN_BULK)
def test_what_is_done_to_many_is_done_to_one_s_own(
    bound: Watch, ours: Tenant, theirs: Tenant, path: str
) -> None:
    for selection in (
        {"endpoint": theirs[Endpoint]},
        {"subscriber": theirs[Subscriber]},
        {"ids": [theirs[DeadLetter]]},
    ):
        for dry_run in (True, False):
            answer = bound.send("post", path, {**selection, "dry_run": dry_run})
            assert (answer.json()["matched"], answer.json()["changed"]) == (0, 0)
    answer = bound.send("post", path, {"reason": "exhausted"})
    assert (answer.json()["matched"], answer.json()["changed"]) == (1, 1)
    assert DeadLetter.objects.exclude(resolution="").get().pk == ours[DeadLetter]


@pytest.mark.parametrize("extra", [{}, {"subscriber": None}])
def test_an_event_is_emitted_for_the_key_s_own_subscriber(
    bound: Watch, ours: Tenant, extra: dict[str, Any]
) -> None:
    answer = bound.send("post", "/api/v1/events/", {"type": "shared.new", "data": 1, **extra})
    assert answer.status_code == 201
    assert answer.json()["subscriber"] == ours[Subscriber]
    delivery = Delivery.objects.get(event=answer.json()["id"])
    assert delivery.endpoint_id == ours[Endpoint]


def test_an_idempotency_key_is_compared_with_one_s_own_alone(bound: Watch) -> None:
    event = {"type": "shared.new", "data": 1}
    for used_by_others in ("croesus-key", "the producer's"):
        answer = bound.client.post(
            "/api/v1/events/", event, headers={"Idempotency-Key": used_by_others}
        )
        assert answer.status_code == 201


def test_an_event_for_everybody_shows_one_s_own_deliveries_alone(
    api: APIClient, bound: Watch, ours: Tenant, shared: Event
) -> None:
    path = f"/api/v1/events/{shared.pk}/"
    assert api.get(path).json()["delivery_count"] == 2
    shown = bound.send("get", path).json()
    assert [one["endpoint"] for one in shown["deliveries"]] == [ours[Endpoint]]
    assert (shown["delivery_count"], shown["idempotency_key"]) == (1, None)
    listed = bound.send("get", "/api/v1/events/").json()["results"]
    assert {one["id"]: one["delivery_count"] for one in listed} == {
        shared.pk: 1,
        ours[Event]: 2,
    }


@pytest.fixture
def missed(theirs: Tenant) -> Event:
    """An event for everybody that they alone asked for."""
    return emit("croesus.made", {"n": 1})


def test_an_event_that_reaches_others_alone_is_not_there(missed: Event, bound: Watch) -> None:
    assert missed.delivery_count == 1
    assert bound.send("get", f"/api/v1/events/{missed.pk}/").status_code == 404


def test_a_subscription_is_tried_on_one_s_own_events_alone(
    ours: Tenant, missed: Event, shared: Event, bound: Watch
) -> None:
    for extra in ({}, {"subscriber": ours[Subscriber]}):
        answer = bound.send("post", TRY, {"pattern": "*", **extra})
        tried = [trial["event"] for trial in answer.json()["results"]]
        assert tried == [shared.pk, ours[Event]]


def test_a_trial_that_names_another_s_is_refused_like_one_that_names_nobody_s(
    bound: Watch, theirs: Tenant
) -> None:
    answers = []
    for key in (theirs[Subscriber], unknown(theirs[Subscriber])):
        answer = bound.send("post", TRY, {"pattern": "*", "subscriber": key})
        assert (answer.status_code, faults(answer)) == (400, ["subscriber"])
        answers.append(told(answer, key))
    assert answers[0] == answers[1]


def test_a_dry_run_of_another_s_replay_is_refused_like_one_of_nobody_s(
    bound: Watch, ours: Tenant, theirs: Tenant
) -> None:
    answers = []
    for key in (theirs[Endpoint], unknown(theirs[Endpoint])):
        answer = bound.send("post", DRY_RUN, {"endpoint": key})
        assert (answer.status_code, faults(answer)) == (400, ["endpoint"])
        answers.append(told(answer, key))
    assert answers[0] == answers[1]
    answer = bound.send("post", DRY_RUN, {"endpoint": ours[Endpoint]})
    assert answer.json() == {"count": 1, "exact": True}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "/api/v1/event-types/", {"name": "a.b"}),
        ("patch", "/api/v1/event-types/shared.made/", {"archived": True}),
        ("delete", "/api/v1/event-types/shared.made/", None),
        ("post", "/api/v1/subscribers/", {"name": "a"}),
        ("patch", "/api/v1/subscribers/{}/", {"external_id": "croesus-42"}),
        ("delete", "/api/v1/subscribers/{}/", None),
        ("post", "/api/v1/subscribers/{}/erase/", None),
    ],
)
def test_the_catalogue_and_the_subscribers_are_not_for_a_bound_key_to_change(
    bound: Watch, ours: Tenant, method: str, path: str, body: Any
) -> None:
    before = everything_of(ours)
    answer = bound.send(method, path.format(ours[Subscriber]), body)
    assert (answer.status_code, faults(answer)) == (403, ["detail"])
    assert "not bound" in answer.json()["detail"]
    assert everything_of(ours) == before


def test_a_subscriber_s_keys_go_with_it_and_never_become_everybody_s(api: APIClient) -> None:
    subscriber = Subscriber.objects.create(name="a")
    client = client_of(ApiKey(name="its own", subscriber=subscriber))
    assert client.get("/api/v1/subscribers/").status_code == 200
    assert api.delete(f"/api/v1/subscribers/{subscriber.pk}/").status_code == 204
    assert client.get("/api/v1/subscribers/").status_code == 401


def test_one_s_own_can_be_managed(bound: Watch, ours: Tenant) -> None:
    endpoint = f"/api/v1/endpoints/{ours[Endpoint]}/"
    for method, path in [
        *[
            ("post", f"{endpoint}{action}/")
            for action in ("pause", "resume", "verify", "rotate-secret")
        ],
        ("get", f"{endpoint}secret/"),
        ("post", f"/api/v1/deliveries/{ours[Delivery]}/replay/"),
        ("delete", f"/api/v1/subscriptions/{ours[Subscription]}/"),
        ("delete", endpoint),
    ]:
        assert bound.send(method, path).status_code in (200, 204), path
