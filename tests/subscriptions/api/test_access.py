from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from subscriptions.models import ApiKey, Subscriber
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


def test_a_key_that_may_manage_may_read_too() -> None:
    assert ApiKey(scopes=["manage"]).may(ApiKey.Scope.READ)
    assert not ApiKey(scopes=["manage"]).may(ApiKey.Scope.EMIT)
    assert not ApiKey(scopes=["emit", "read"]).may(ApiKey.Scope.MANAGE)


@pytest.mark.parametrize("scopes", [[], ["everything"], ["read", "everything"], ["READ"], [""]])
def test_the_database_takes_no_scope_that_is_none(scopes: list[str]) -> None:
    with pytest.raises(IntegrityError):
        ApiKey.objects.create_key(name="a", scopes=scopes)


def test_a_key_knows_when_it_was_last_used_to_the_minute() -> None:
    stored, key = ApiKey.objects.create_key(name="a producer")
    assert stored.last_used_at is None

    def used() -> tuple[datetime | None, bool]:
        with CaptureQueriesContext(connection) as queries:
            assert get(f"Bearer {key}") == 200
        stored.refresh_from_db()
        return stored.last_used_at, any("UPDATE" in query["sql"] for query in queries)

    first, written = used()
    assert written
    assert used() == (first, False)
    ApiKey.objects.update(last_used_at=timezone.now() - timedelta(seconds=61))
    again, written = used()
    assert written
    assert first is not None
    assert again is not None
    assert again > first


def test_a_key_that_opens_nothing_is_not_used() -> None:
    _, key = ApiKey.objects.create_key(name="a producer", revoked=True)
    assert get(f"Bearer {key}") == 401
    assert ApiKey.objects.get().last_used_at is None


@pytest.mark.django_db(transaction=True)
def test_a_request_does_not_wait_for_who_changes_its_key() -> None:
    _, key = ApiKey.objects.create_key(name="a producer")

    def ask() -> int:
        try:
            return get(f"Bearer {key}")
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        ApiKey.objects.select_for_update().get()
        assert pool.submit(ask).result(timeout=20) == 200
    assert ApiKey.objects.get().last_used_at is None


def make_key(*arguments: str) -> ApiKey:
    out = StringIO()
    call_command("create_api_key", "a producer", *arguments, stdout=out)
    return ApiKey.objects.get_from_key(out.getvalue().strip())


def test_the_command_makes_a_key_that_may_do_everything_unless_told_otherwise() -> None:
    key = make_key()
    assert key.scopes == ["emit", "read", "manage"]
    assert (key.subscriber, key.expiry_date, key.rate) == (None, None, "")


def test_the_command_makes_a_key_as_it_is_told(subscriber: Subscriber) -> None:
    key = make_key(
        *("--scope", "emit", "--scope", "read", "--subscriber", subscriber.pk),
        *("--expires", "2999-01-31", "--rate", "5/s"),
    )
    assert (key.scopes, key.subscriber, key.rate) == (["emit", "read"], subscriber, "5/s")
    assert key.expiry_date == datetime(2999, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--scope", "everything"], "invalid choice"),
        (["--subscriber", "nonsense"], "not an id of this kind"),
        (["--subscriber", "sub_" + "0" * 32], "not a valid choice"),
        (["--expires", "tomorrow"], "is no time"),
        (["--expires", "2020-01-31T12:00Z"], "is past"),
        (["--rate", "fast"], "100/s"),
    ],
)
def test_the_command_refuses_what_makes_no_key(arguments: list[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        make_key(*arguments)
    assert not ApiKey.objects.exists()


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
