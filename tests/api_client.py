"""What the tests of both halves of the API share."""

from datetime import datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from subscriptions.models import ApiKey


class JsonClient(APIClient):
    default_format = "json"


@pytest.fixture
def api(db: None) -> APIClient:
    """A client that shows a valid API key and speaks JSON."""
    # Used before, so that no test's first request writes down its use.
    return client_of(ApiKey(name="the tests", last_used_at=timezone.now()))


@pytest.fixture
def schema() -> dict[str, Any]:
    """The OpenAPI document, as it is served."""
    document: dict[str, Any] = APIClient().get("/api/schema/?format=json").json()
    return document


def client_of(api_key: ApiKey) -> APIClient:
    """A client that shows this key, which is saved here, and speaks JSON."""
    key = ApiKey.objects.assign_key(api_key)
    api_key.save()
    client = JsonClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
    return client


def faults(response: Any) -> list[str]:
    """What an error's answer speaks of: fields, or "detail". Each names its request as well."""
    answer = response.json()
    assert answer.pop("request_id") == response.headers["X-Request-ID"]
    return list(answer)


def written(moment: datetime | None) -> str:
    """How the API writes a time."""
    assert moment is not None
    return moment.isoformat().replace("+00:00", "Z")


def queries_of_get(client: APIClient, path: str) -> int:
    """How many queries it takes to answer."""
    with CaptureQueriesContext(connection) as captured:
        assert client.get(path).status_code == 200
    return len(captured)
