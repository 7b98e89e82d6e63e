"""The API keeps to its OpenAPI document, whatever is sent to it: schemathesis makes requests up."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
from django.conf import LazySettings
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from rest_framework.test import APIClient
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from deliveries import replays
from deliveries.emit import emit
from deliveries.models import DeadLetter, DeadLetterJob, Delivery, Erasure, Replay
from subscriptions.models import (
    ApiKey,
    EventType,
    Feed,
    HistoryEntry,
    Subscriber,
    Subscription,
)
from tests.api_client import api as api
from tests.conftest import MakeEndpoint

pytestmark = pytest.mark.django_db

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
PATHS = SchemaGenerator().get_schema(public=True)["paths"]  # type: ignore[no-untyped-call]
OPERATIONS = [(method.upper(), path) for path, methods in PATHS.items() for method in methods]
BODIES = {
    (method, path): operation["requestBody"]["content"]["application/json"].get("examples", {})
    for path, methods in PATHS.items()
    for method, operation in methods.items()
    if "requestBody" in operation
}
EXAMPLES = 5

made_up = hypothesis_settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def document(db: None, settings: LazySettings) -> Iterator[Any]:
    settings.ALLOWED_HOSTS = ["localhost"]
    # The connection is the test's: as with Django's own client, no request may close it.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield schemathesis.openapi.from_wsgi("/api/schema/?format=json", get_wsgi_application())
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def for_each(operation: Any, check: Callable[[Any], None]) -> None:
    """Call `check` with requests that are made up for an operation of the document."""
    made_up(given(case=operation.as_strategy())(lambda case: check(case)))()


@pytest.fixture
def ids(make_endpoint: MakeEndpoint) -> dict[str, str]:
    """One of each, by the word that paths have for it."""
    # Nobody listens where the test events go.
    endpoint = make_endpoint(url="http://127.0.0.1:1025/")
    Subscription.objects.create(endpoint=Feed.objects.open(endpoint.subscriber), pattern="made.*")
    EventType.objects.create(name="made.up")
    event = emit("made.up", {})
    delivery = event.deliveries.get(endpoint=endpoint)
    Delivery.objects.filter(pk=delivery.pk).update(state="dead", ended_at=timezone.now())
    letter = DeadLetter.objects.create(
        delivery=delivery, reason="exhausted", died_at=timezone.now()
    )
    job = DeadLetterJob.objects.create(action="redrive", selection={}, matched=1, up_to=uuid4())
    replay = Replay(endpoint=endpoint)
    replay.clean()
    replays.start(replay)
    return {
        "dead-letter-jobs": job.pk,
        "erasures": Erasure.objects.create(subscriber="sub_" + "0" * 32).pk,
        "subscribers": endpoint.subscriber_id,
        "endpoints": endpoint.pk,
        "subscriptions": endpoint.subscriptions.get().pk,
        "event-types": "made.up",
        "events": event.pk,
        "deliveries": delivery.pk,
        "dead-letters": letter.pk,
        "replays": replay.pk,
        "history": HistoryEntry.objects.earliest("pk").pk,
    }


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_with_a_key_every_answer_is_as_documented(
    document: Any, ids: dict[str, str], method: str, path: str
) -> None:
    _, key = ApiKey.objects.create_key(name="made up", rate="100000/s")
    headers = {"Authorization": f"Bearer {key}"}
    there = {name: ids[path.split("/")[3]] for name in ("id", "name") if f"{{{name}}}" in path}

    def check(case: Any) -> None:
        case.call_and_validate(headers=headers, checks=CHECKS)
        if there:
            case.path_parameters = there
            case.call_and_validate(headers=headers, checks=CHECKS)

    for_each(document[path][method], check)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_without_a_key_every_request_is_refused(document: Any, method: str, path: str) -> None:
    statuses = set()

    def check(case: Any) -> None:
        case.headers = {}
        response = case.call()
        case.validate_response(response, checks=CHECKS)
        statuses.add(response.status_code)

    for_each(document[path][method], check)
    # A made-up id may have a slash in it, and lead nowhere.
    assert 401 in statuses
    assert statuses <= {401, 404}


def test_every_operation_is_tried() -> None:
    assert len(OPERATIONS) > 30


@pytest.mark.parametrize(("method", "path"), BODIES)
def test_the_examples_of_a_request_are_taken(
    ids: dict[str, str], api: APIClient, method: str, path: str
) -> None:
    assert BODIES[method, path]
    subscriber = Subscriber.objects.create(name="Without a feed")
    for example in BODIES[method, path].values():
        body = json.dumps(example["value"])
        # To erase a subscriber one names it twice.
        named = ids["subscribers"] if path.endswith("/erase/") else subscriber.pk
        body = re.sub("sub_[0-9a-f]+", named, body)
        body = re.sub("ep_[0-9a-f]+", ids["endpoints"], body)
        # An endpoint has one replay at a time.
        replays.cancel(list(Replay.objects.values_list("pk", flat=True)))
        where = re.sub("{.*}", ids.get(path.split("/")[3], ""), path)
        response = api.generic(method.upper(), where, body, content_type="application/json")
        assert response.status_code in (200, 201, 202), (example, response.content)
