"""What the tests of both halves of the API share."""

from datetime import datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from subscriptions.models import ApiKey


class JsonClient(APIClient):
    default_format = "json"


@pytest.fixture
def api(db: None) -> APIClient:
    """A client that shows a valid API key and speaks JSON."""
    _, key = ApiKey.objects.create_key(name="the tests")
    client = JsonClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
    return client


def written(moment: datetime | None) -> str:
    """How the API writes a time."""
    assert moment is not None
    return moment.isoformat().replace("+00:00", "Z")


def queries_of_get(client: APIClient, path: str) -> int:
    """How many queries it takes to answer."""
    with CaptureQueriesContext(connection) as captured:
        assert client.get(path).status_code == 200
    return len(captured)
