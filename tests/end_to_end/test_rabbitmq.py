"""The plain lane on RabbitMQ's quorum queues, over TLS; rates and the like stay in Redis."""

import ssl
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from amqp.exceptions import PreconditionFailed
from django.conf import settings

from deliveries import bell
from deliveries.alive import broker_is_away
from deliveries.emit import emit
from deliveries.models import Attempt, Delivery
from subscriptions.redis_address import RedisAddress
from tests import processes
from tests.brokers import app_at, ring_at
from tests.conftest import MakeEndpoint
from tests.faults.network import Road
from tests.processes import QUICK, Process, wait_until
from tests.rabbitmq import Node, rabbitmq
from tests.receiver import Answer, Receiver, most_in
from tests.redis_tls import own_certificate
from tests.webhooks.sending.certificates import Authority

pytestmark = pytest.mark.django_db(transaction=True)

COUNTDOWN = 60
"""Seconds that a retry waits here: longer than anything else."""


@pytest.fixture(scope="module")
def node(authority: Authority) -> Iterator[Node]:
    with rabbitmq(authority) as node:
        yield node


@pytest.fixture(scope="module")
def road(node: Node) -> Iterator[Road]:
    """The way to it, which a test may cut."""
    road = Road("127.0.0.1", node.tls_port)
    yield road
    road.cut()


@pytest.fixture(scope="module")
def options(authority: Authority) -> str:
    return f"ssl_ca_certs={authority.bundle}&{own_certificate(authority)}"


@pytest.fixture(scope="module")
def url(road: Road, options: str) -> str:
    return f"amqps://guest:guest@localhost:{road.port}//?{options}"


@pytest.fixture(scope="module")
def waits() -> dict[str, str]:
    return {**QUICK, "ANGARIUM_RETRY_SCHEDULE": f"2,{COUNTDOWN}"}


@pytest.fixture(scope="module")
def worker(
    django_db_setup: None,
    url: str,
    waits: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Process]:
    log = tmp_path_factory.mktemp("logs") / "worker.log"
    rabbit = {"LANE": "plain", "BROKER_URL": url}
    with processes.worker(log, "--concurrency", "2", waits=waits, **rabbit) as process:
        yield process


@pytest.fixture(autouse=True)
def rings(url: str, worker: Process, monkeypatch: pytest.MonkeyPatch) -> bell.Bell:
    return ring_at(url, "plain", monkeypatch)


def has_arrived(emitted: set[str]) -> bool:
    return Delivery.objects.filter(event__in=emitted, state="delivered").count() == len(emitted)


def test_what_fails_is_tried_again_after_its_countdown(
    make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    receiver.answers["/hook"] = lambda _, number: Answer(500 if number == 1 else 200)
    make_endpoint(url=receiver.url())
    emitted = {emit("invoice.paid", {"n": n}).pk for n in range(20)}
    wait_until(lambda: has_arrived(emitted), "every delivery", patience=30)
    ended = Attempt.objects.values_list("delivery", "ended_at")
    first, second = (dict(ended.filter(number=number)) for number in (1, 2))
    assert len(second) == 20
    assert min(second[one] - first[one] for one in second) > timedelta(seconds=1.5)
    redis = RedisAddress.parse(settings.REDIS_URL).client(patience=1.0)
    wait_until(lambda: redis.exists("angarium:metrics"), "the worker's metrics in Redis")


def test_however_many_retries_wait_first_attempts_are_not_held_up(
    make_endpoint: MakeEndpoint, receiver: Receiver, url: str
) -> None:
    receiver.answers["/failing"] = lambda _, __: Answer(500)
    failing = make_endpoint("failing.*", url=receiver.url("/failing"))
    make_endpoint("working.*", url=receiver.url())
    for number in range(40):
        emit("failing.event", {"n": number})
    waiting = Delivery.objects.filter(endpoint=failing, state="waiting", attempt_number=2)
    wait_until(lambda: waiting.count() == 40, "all to wait", patience=40)
    began = time.monotonic()
    emitted = {emit("working.event", {"n": n}).pk for n in range(20)}
    wait_until(lambda: has_arrived(emitted), "every delivery", patience=30)
    assert time.monotonic() - began < COUNTDOWN / 2


def test_an_endpoint_with_a_rate_gets_that_though_what_waits_comes_by_the_second(
    make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    make_endpoint(url=receiver.url(), rate="10/s", burst=1)
    emitted = {emit("invoice.paid", {"n": n}).pk for n in range(60)}
    wait_until(lambda: has_arrived(emitted), "every delivery", patience=60)
    came = sorted(one.at for one in receiver.received)
    # A second's worth may come early, and no more.
    assert most_in(1.0, came) <= 10 + 10 + 3
    assert came[-1] - came[0] >= (60 - 10) / 10 - 1
    assert set(Delivery.objects.values_list("attempt_number", flat=True)) == {1}


def test_a_node_that_its_certificate_does_not_name_is_not_trusted(
    node: Node, options: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = f"amqps://guest:guest@127.0.0.1:{node.tls_port}//?{options}"
    with (
        app_at(elsewhere, "plain").connection_for_write() as connection,
        pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for '127\.0\.0\.1'"),
    ):
        connection.connect()
    for broker, away in ((url, False), (elsewhere, True)):
        monkeypatch.setenv("BROKER_URL", broker)
        assert broker_is_away() is away


def test_the_queues_are_quorum_queues(rings: bell.Bell, node: Node) -> None:
    assert bell.waiting() == 0
    plain = f"amqp://guest:guest@127.0.0.1:{node.port}//"
    with app_at(plain, "plain").connection_for_write() as connection:
        classic = {"durable": True, "auto_delete": False}
        with pytest.raises(PreconditionFailed, match="x-queue-type"):
            connection.default_channel.queue_declare("deliveries", **classic)


def test_while_the_broker_is_away_emit_is_quick_and_the_bell_rings_again_afterwards(
    make_endpoint: MakeEndpoint,
    receiver: Receiver,
    road: Road,
    quick_schedules: None,
    url: str,
    waits: dict[str, str],
    tmp_path: Path,
) -> None:
    make_endpoint(url=receiver.url())
    emitted = {emit("invoice.paid", {"n": 0}).pk}
    wait_until(lambda: has_arrived(emitted), "the first")
    road.cut()
    began = time.monotonic()
    emitted |= {emit("invoice.paid", {"n": n}).pk for n in range(1, 11)}
    assert time.monotonic() - began < 5
    assert bell.waiting() is None
    road.open()
    with processes.beat(tmp_path / "beat.log", waits=waits, LANE="plain", BROKER_URL=url):
        wait_until(lambda: has_arrived(emitted), "what was emitted meanwhile")
    wait_until(lambda: bell.waiting() is not None, "the bell", patience=10)
    late = {emit("invoice.paid", {"n": 99}).pk}
    wait_until(lambda: has_arrived(late), "the last", patience=10)
