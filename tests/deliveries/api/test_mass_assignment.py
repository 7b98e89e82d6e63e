"""A request sets what the OpenAPI document says it can, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import Model
from rest_framework.test import APIClient

from deliveries.models import DeadLetter, Event, Replay
from subscriptions.models import Endpoint, EventType, Subscriber, Subscription
from tests.api_client import faults
from tests.api_routes import API
from tests.deliveries.api.test_tenancy import Tenant, everything_of, move_in

BODIES: dict[str, tuple[type[Model], Callable[[Tenant], dict[str, Any]]]] = {
    "post event-types/": (EventType, lambda _: {"name": "new"}),
    "patch event-types/{name}/": (EventType, lambda _: {}),
    "post subscribers/": (Subscriber, lambda _: {"name": "new"}),
    "patch subscribers/{id}/": (Subscriber, lambda _: {}),
    "post endpoints/": (
        Endpoint,
        lambda tenant: {"subscriber": tenant[Subscriber], "url": "https://example.com/new"},
    ),
    "patch endpoints/{id}/": (Endpoint, lambda _: {}),
    "post endpoints/{id}/rotate-secret/": (Endpoint, lambda _: {}),
    "post subscriptions/": (
        Subscription,
        lambda tenant: {"endpoint": tenant[Endpoint], "pattern": "new"},
    ),
    "patch subscriptions/{id}/": (Subscription, lambda _: {}),
    "post catalogue/import/": (
        EventType,
        lambda _: {"catalogue": {"version": 1, "event_types": [{"name": "new"}]}},
    ),
    "post subscribers/{id}/erase/": (Subscriber, lambda _: {}),
    "post events/": (Event, lambda _: {"type": "new", "data": 1}),
    "post events/try-subscription/": (Subscription, lambda _: {"pattern": "new"}),
    "post replays/": (Replay, lambda tenant: {"endpoint": tenant[Endpoint]}),
    "post replays/dry-run/": (Replay, lambda tenant: {"endpoint": tenant[Endpoint]}),
    "post dead-letters/redrive/": (DeadLetter, lambda _: {"reason": "exhausted"}),
    "post dead-letters/discard/": (DeadLetter, lambda _: {"reason": "exhausted"}),
}


def settable(schema: dict[str, Any], operation: dict[str, Any]) -> set[str]:
    content = operation["requestBody"]["content"]["application/json"]["schema"]
    component = schema["components"]["schemas"][content["$ref"].rpartition("/")[2]]
    return {name for name, about in component["properties"].items() if not about.get("readOnly")}


def test_every_operation_with_a_body_is_tried(schema: dict[str, Any]) -> None:
    with_a_body = {
        f"{method} {path.removeprefix(API)}"
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        if "requestBody" in operation
    }
    assert with_a_body == set(BODIES)


@pytest.mark.django_db
@pytest.mark.parametrize("operation", BODIES)
def test_what_is_not_a_field_for_the_caller_to_set_is_refused(
    api: APIClient, schema: dict[str, Any], operation: str
) -> None:
    tenant = move_in("abbas")
    EventType.objects.create(name="abbas.paid")
    model, body_for = BODIES[operation]
    method, template = operation.split()
    key = "abbas.paid" if model is EventType else tenant.rows.get(model, tenant.rows[Event]).pk
    path = API + template.format(id=key, name=key)
    fields = settable(schema, schema["paths"][API + template][method])
    columns = {
        name for field in model._meta.get_fields() for name in (field.name, f"{field.name}_id")
    }
    before = everything_of(tenant)
    for name in (columns | {"id", "pk", "nonsense", "__class__", "payload"}) - fields:
        answer = getattr(api, method)(path, {**body_for(tenant), name: "sub_" + "0" * 32})
        assert (answer.status_code, faults(answer)) == (400, [name])
    assert everything_of(tenant) == before
