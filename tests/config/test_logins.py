"""Whoever guesses passwords is slowed down, and nobody else."""

import logging
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from redis import Redis

from config import logins
from config.logins import BY_ADDRESS, BY_NAME, BY_NAME_AND_ADDRESS, Attempts
from tests.conftest import Configure

LOGIN = "/admin/login/"
REDIS_URL = os.environ["REDIS_URL"]
HERE, ELSEWHERE = "203.0.113.9", "198.51.100.7"
TRIES = BY_NAME_AND_ADDRESS.quota


@pytest.fixture(autouse=True)
def nobody_has_tried_before() -> Iterator[None]:
    with Redis.from_url(REDIS_URL) as redis:
        yield
        for key in redis.scan_iter("angarium:*login:*"):
            redis.delete(key)


@pytest.fixture
def attempts() -> Attempts:
    return Attempts(REDIS_URL)


@pytest.fixture
def without_redis() -> Iterator[str]:
    """The URL of something that takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield "redis://{}:{}/0".format(*listener.getsockname())


@pytest.fixture
def shirin(db: None) -> User:
    return User.objects.create_user("shirin", password="right", is_staff=True)


def log_in(password: str, name: str = "shirin", address: str = HERE) -> HttpResponse:
    asked = {"username": name, "password": password, "next": "/admin/"}
    return Client().post(LOGIN, asked, REMOTE_ADDR=address)  # type: ignore[return-value]


@pytest.mark.usefixtures("shirin")
def test_after_some_guesses_the_right_password_does_not_help_either() -> None:
    assert {log_in(f"guess {n}").status_code for n in range(TRIES)} == {200}
    refused = log_in("right")
    assert refused.status_code == 429
    assert 170 < int(refused.headers["Retry-After"]) <= 180
    assert "Too many attempts to log in. Try again in 3 min." in refused.content.decode()
    assert "sessionid" not in refused.cookies


@pytest.mark.usefixtures("shirin")
def test_it_does_not_help_either_to_write_the_name_another_way() -> None:
    for n in range(TRIES):
        log_in(f"guess {n}", name="Shirin" if n % 2 else " shirin ")
    assert log_in("right").status_code == 429


@pytest.mark.usefixtures("shirin")
def test_from_another_address_one_gets_in_meanwhile() -> None:
    for n in range(TRIES + 1):
        log_in(f"guess {n}", address=ELSEWHERE)
    assert log_in("right").status_code == 302


@pytest.mark.usefixtures("shirin")
def test_whoever_mistypes_and_gets_in_begins_anew() -> None:
    for _ in range(3):
        for n in range(TRIES - 1):
            assert log_in(f"slip {n}").status_code == 200
        assert log_in("right").status_code == 302


@pytest.mark.usefixtures("db")
def test_a_name_that_is_none_is_no_exception() -> None:
    statuses = [log_in("guess", name="nobody").status_code for _ in range(TRIES + 1)]
    assert statuses == [200] * TRIES + [429]


@pytest.mark.usefixtures("shirin")
def test_failures_and_refusals_are_logged_without_the_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "config.logins"):
        log_in("right")
        for n in range(TRIES + 1):
            log_in(f"guess {n}", name="x\nERROR made up")
    name = r"'x\nERROR made up'"
    assert [r.getMessage() for r in caplog.records if r.name == "config.logins"] == [
        f"'shirin' logged in from {HERE}.",
        *[f"A login as {name} from {HERE} failed."] * TRIES,
        f"Refused a login as {name} from {HERE}: too many attempts.",
    ]
    assert "guess" not in caplog.text


def test_one_address_does_not_try_many_names(attempts: Attempts) -> None:
    waits = [attempts.wait(f"name {n}", HERE) for n in range(BY_ADDRESS.quota + 1)]
    assert waits[:-1] == [0] * BY_ADDRESS.quota
    assert waits[-1] > 0
    assert attempts.wait("name", ELSEWHERE) == 0


def test_many_addresses_do_not_guess_at_one_name_and_its_owner_gets_in(
    attempts: Attempts,
) -> None:
    attempts.succeeded("shirin", HERE)
    waits = [attempts.wait("shirin", f"2001:db8:{n:x}::1") for n in range(BY_NAME.quota + 1)]
    assert waits[:-1] == [0] * BY_NAME.quota
    assert 0 < waits[-1] <= 36
    assert attempts.wait("shirin", HERE) == 0
    assert attempts.wait("farhad", ELSEWHERE) == 0


def test_a_network_is_one_address(attempts: Attempts) -> None:
    waits = [attempts.wait("shirin", f"2001:db8::{n:x}") for n in range(TRIES + 1)]
    assert waits[-1] > 0


def test_web_processes_count_together(attempts: Attempts) -> None:
    with ThreadPoolExecutor(4) as pool:
        waits = list(pool.map(lambda _: Attempts(REDIS_URL).wait("shirin", HERE), range(20)))
    assert waits.count(0) == TRIES


def test_of_names_and_addresses_a_hash_is_kept(attempts: Attempts) -> None:
    attempts.wait("shirin", HERE)
    attempts.succeeded("shirin", HERE)
    with Redis.from_url(REDIS_URL) as redis:
        keys = [key.decode() for key in redis.scan_iter("angarium:*login:*")]
        assert keys
        assert all(0 < redis.ttl(key) <= logins.KNOWN_FOR for key in keys)
    assert [key for key in keys if "shirin" in key or HERE in key] == []


@pytest.mark.usefixtures("shirin")
def test_without_redis_nobody_is_locked_out_and_guessing_is_as_slow(
    configure: Configure, without_redis: str
) -> None:
    configure(REDIS_URL=without_redis)
    assert log_in("right").status_code == 302
    assert [log_in(f"guess {n}").status_code for n in range(TRIES)] == [200] * TRIES
    assert log_in("right").status_code == 429
    assert log_in("right", address=ELSEWHERE).status_code == 302
