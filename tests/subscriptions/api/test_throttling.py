import logging
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis
from rest_framework.test import APIClient

from subscriptions.api.throttling import Buckets
from subscriptions.ids import new_id
from subscriptions.models import ApiKey
from subscriptions.rates import Rate
from tests.api_client import client_of, faults
from tests.conftest import Configure
from tests.processes import wait_until

REDIS_URL = os.environ["REDIS_URL"]
EVENT_TYPES = "/api/v1/event-types/"
THREE_A_DAY = Rate(3, 86400)


@pytest.fixture
def bucket() -> str:
    return new_id("test")


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """Something that takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def connections_to(listener: socket.socket) -> int:
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_a_bucket_has_its_quota_and_then_says_how_long_to_wait(bucket: str) -> None:
    taken = [Buckets(REDIS_URL).take(bucket, THREE_A_DAY) for _ in range(4)]
    assert [one and (one.wait > 0, one.remaining) for one in taken] == [
        (False, 2),
        (False, 1),
        (False, 0),
        (True, 0),
    ]
    assert taken[-1] is not None
    assert 28_000 < taken[-1].wait <= 28_800
    assert 86_000 < taken[-1].full_in <= 86_400


def test_a_bucket_fills_again(bucket: str) -> None:
    buckets, rate = Buckets(REDIS_URL), Rate(2, 1)

    def has_one() -> bool:
        allowance = buckets.take(bucket, rate)
        return allowance is not None and allowance.wait == 0

    assert [has_one(), has_one(), has_one()] == [True, True, False]
    wait_until(has_one, "a token")


def test_a_full_bucket_leaves_nothing_behind(bucket: str) -> None:
    Buckets(REDIS_URL).take(bucket, Rate(20, 1))
    with Redis.from_url(REDIS_URL) as redis:
        assert redis.pttl(f"angarium:rate:{bucket}") <= 50
        wait_until(lambda: not redis.exists(f"angarium:rate:{bucket}"), "the bucket to expire")


def test_web_processes_take_out_of_one_bucket(bucket: str) -> None:
    rate = Rate(50, 86400)

    def take_twenty(_: int) -> int:
        buckets = Buckets(REDIS_URL)
        taken = [buckets.take(bucket, rate) for _ in range(20)]
        return sum(one is not None and one.wait == 0 for one in taken)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take_twenty, range(8))) == 50


def test_a_lower_rate_holds_at_once(bucket: str) -> None:
    buckets = Buckets(REDIS_URL)
    buckets.take(bucket, Rate(1000, 86400))
    allowance = buckets.take(bucket, THREE_A_DAY)
    assert allowance is not None
    assert allowance.remaining == 2


@pytest.mark.django_db
def test_a_key_that_has_used_up_its_rate_is_told_when_to_come_back() -> None:
    client = client_of(ApiKey(name="slow", rate="2/d"))
    answers = [client.get(EVENT_TYPES) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["RateLimit"].split(";")[:2] for answer in answers] == [
        ['"key"', "r=1"],
        ['"key"', "r=0"],
        ['"key"', "r=0"],
    ]
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"key";q=2;w=86400'}
    refused = answers[-1]
    assert faults(refused) == ["detail"]
    assert 43_000 < int(refused.headers["Retry-After"]) <= 43_200
    assert "Retry-After" not in answers[0].headers


@pytest.mark.django_db
def test_a_request_that_the_key_may_not_make_is_counted_too() -> None:
    client = client_of(ApiKey(name="curious", rate="2/d", scopes=["read"]))
    answers = [client.post("/api/v1/events/", {"type": "a", "data": 1}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [403, 403, 429]
    assert "RateLimit" in answers[0].headers


@pytest.mark.django_db
def test_one_key_s_rate_is_not_another_s(configure: Configure) -> None:
    configure(API_RATE="1/d")
    first, second = (client_of(ApiKey(name="a")) for _ in range(2))
    generous = client_of(ApiKey(name="b", rate="5/d"))
    for client, statuses in ((first, [200, 429]), (second, [200, 429]), (generous, [200, 200])):
        assert [client.get(EVENT_TYPES).status_code for _ in range(2)] == statuses


@pytest.mark.django_db
def test_without_a_rate_redis_is_not_asked(configure: Configure, silent: socket.socket) -> None:
    configure(API_RATE="", REDIS_URL="redis://{}:{}/0".format(*silent.getsockname()))
    answer = client_of(ApiKey(name="a")).get(EVENT_TYPES)
    assert (answer.status_code, "RateLimit" in answer.headers) == (200, False)
    assert connections_to(silent) == 0


@pytest.mark.django_db
@pytest.mark.parametrize("refuses", [True, False], ids=["refuses", "is silent"])
def test_while_redis_is_away_requests_pass_and_one_of_them_finds_out(
    configure: Configure,
    silent: socket.socket,
    caplog: pytest.LogCaptureFixture,
    refuses: bool,
) -> None:
    address = silent.getsockname()
    if refuses:
        silent.close()
    configure(API_RATE="1/d", REDIS_URL="redis://{}:{}/0".format(*address))
    client = client_of(ApiKey(name="a"))
    with caplog.at_level(logging.WARNING, "subscriptions.quick_redis"):
        for _ in range(5):
            answer = client.get(EVENT_TYPES)
            assert (answer.status_code, "RateLimit" in answer.headers) == (200, False)
    assert len(caplog.records) == 1
    if not refuses:
        assert connections_to(silent) == 1


def test_redis_is_asked_again_after_a_while(
    bucket: str, silent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Buckets, "quiet_for", 0.0)
    buckets = Buckets("redis://{}:{}/0".format(*silent.getsockname()))
    for _ in range(2):
        assert buckets.take(bucket, THREE_A_DAY) is None
    assert connections_to(silent) == 2


@pytest.mark.django_db
def test_who_has_no_key_is_not_counted(api: APIClient) -> None:
    answer = APIClient().get(EVENT_TYPES)
    assert (answer.status_code, "RateLimit" in answer.headers) == (401, False)
    assert "RateLimit" in api.get(EVENT_TYPES).headers
