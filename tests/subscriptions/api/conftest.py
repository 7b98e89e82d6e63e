from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.api_client import api as api


@pytest.fixture
def schema() -> dict[str, Any]:
    """The OpenAPI document, as it is served."""
    document: dict[str, Any] = APIClient().get("/api/schema/?format=json").json()
    return document
