from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from rest_framework.test import APIClient

from subscriptions.models import ApiKey
from tests.api_client import faults

pytestmark = pytest.mark.django_db

SUBSCRIBERS = "/api/v1/subscribers/"
UNKNOWN = "abcdefgh.abcdefghijklmnopqrstuvwxyz012345"


def get(authorization: str | None) -> int:
    headers = {} if authorization is None else {"Authorization": authorization}
    response = APIClient().get(SUBSCRIBERS, headers=headers)
    if response.status_code == 401:
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="Angarium"'
        assert faults(response) == ["detail"]
    return response.status_code


def test_a_key_opens_the_api_whatever_the_case_of_its_scheme() -> None:
    _, key = ApiKey.objects.create_key(name="a producer")
    assert get(f"Bearer {key}") == 200
    assert get(f"bearer {key}") == 200


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", f"Bearer {UNKNOWN}", "Bearer a b", "Bearer ké", "Basic YTpi"],
)
def test_without_a_valid_key_the_answer_is_401(authorization: str | None) -> None:
    assert get(authorization) == 401


def test_the_prefix_of_a_key_is_no_key() -> None:
    stored, key = ApiKey.objects.create_key(name="a producer")
    assert get(f"Bearer {stored.prefix}") == 401
    assert get(f"Bearer {key}x") == 401
    assert get(f"Api-Key {key}") == 401


def test_a_key_that_is_revoked_or_expired_is_of_no_use_at_once() -> None:
    _, key = ApiKey.objects.create_key(name="a producer")
    assert get(f"Bearer {key}") == 200
    ApiKey.objects.update(expiry_date=timezone.now() - timedelta(seconds=1))
    assert get(f"Bearer {key}") == 401
    ApiKey.objects.update(expiry_date=None, revoked=True)
    assert get(f"Bearer {key}") == 401


def test_a_key_with_a_nul_is_refused() -> None:
    assert get("Bearer a\0b") == 400


def test_no_route_opens_without_a_key(schema: dict[str, Any]) -> None:
    paths = schema["paths"]
    routes = [(path, method) for path, methods in paths.items() for method in methods]
    assert len(routes) > 30
    for path, method in routes:
        path = path.replace("{id}", "x").replace("{name}", "x")
        assert getattr(APIClient(), method)(path).status_code == 401, (method, path)


def test_the_command_prints_a_key_that_works_and_stores_its_hash_alone() -> None:
    out = StringIO()
    call_command("create_api_key", "a producer", stdout=out)
    key = out.getvalue().strip()
    assert get(f"Bearer {key}") == 200
    stored = ApiKey.objects.get(name="a producer")
    assert key.removeprefix(f"{stored.prefix}.") not in f"{stored.__dict__}"


@pytest.mark.parametrize("name", ["", "x" * 51])
def test_the_command_refuses_a_name_that_cannot_be_stored(name: str) -> None:
    with pytest.raises(CommandError):
        call_command("create_api_key", name)
    assert not ApiKey.objects.exists()
