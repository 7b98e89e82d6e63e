"""What many tests need: subscribers, endpoints, a receiver, a queue to look into."""

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import redis
from django.apps import apps
from django.conf import LazySettings, settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver as on_signal
from django.test import override_settings

from config.celery import app
from subscriptions.models import Endpoint, SigningSecret, Subscriber, Subscription
from tests.receiver import Receiver, running_receiver
from tests.webhooks.sending.certificates import Authority

HERE = Path(__file__).parent

MakeEndpoint = Callable[..., Endpoint]
Configure = Callable[..., None]

SCHEDULES = (
    "0002_sweep_schedules",
    "0006_retention_schedules",
    "0012_endpoint_disabled",
    "0016_sweeps_expire_later",
)
"""The migrations of `deliveries` that install the sweeps' schedules."""


REAL_PROCESSES = ("faults", "end_to_end", "bench")
"""Their tests wait most of the time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits begins first, so that what computes fills the gaps, and nothing long is last."""
    items.sort(key=lambda item: item.path.relative_to(HERE).parts[0] not in REAL_PROCESSES)


def install_schedules() -> None:
    """As the migrations do: a test that commits leaves none of their rows behind."""
    for migration in SCHEDULES:
        import_module(f"deliveries.migrations.{migration}").install(apps, None)


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """Hundreds of tests log in; only a guess is to take long."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@pytest.fixture(scope="module", autouse=True)
def empty_redis() -> None:
    """A worker that was killed leaves messages unacknowledged, which a later file would count."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.flushdb()


@on_signal(connection_created)
def be_patient(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Of a test that empties the tables and a worker that is at work still, the worker gives way.

    It is whoever first looks that PostgreSQL has lose a deadlock; and a worker tries again.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET deadlock_timeout = '10s'")


@pytest.fixture
def subscriber(db: None) -> Subscriber:
    return Subscriber.objects.create(name="Shah Abbas")


@pytest.fixture
def make_endpoint(subscriber: Subscriber) -> MakeEndpoint:
    def make(
        *patterns: str,
        url: str = "http://127.0.0.1:9/hook",
        owner: Subscriber = subscriber,
        **fields: Any,
    ) -> Endpoint:
        endpoint = Endpoint.objects.create(subscriber=owner, url=url, **fields)
        SigningSecret.objects.issue(endpoint)
        for pattern in patterns or ("*",):
            Subscription.objects.create(endpoint=endpoint, pattern=pattern)
        return endpoint

    return make


@pytest.fixture
def configure(settings: LazySettings) -> Configure:
    """Change some of the ANGARIUM settings for one test."""

    def change(**changes: Any) -> None:
        settings.ANGARIUM = {**settings.ANGARIUM, **changes}

    return change


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as receiver:
        yield receiver


@pytest.fixture
def queue() -> Iterator["Queue"]:
    """The broker's queues, empty at first."""
    queue = Queue()
    queue.purge()
    yield queue
    queue.purge()


class Queue:
    """Reads the messages that wait on the broker, as a worker would get them."""

    def purge(self) -> None:
        with app.connection_for_write() as connection:
            for name in app.amqp.queues:
                connection.default_channel.queue_purge(name)

    def messages(self, name: str = "deliveries") -> list[tuple[str, list[Any]]]:
        """Take every message out: its task and its arguments."""
        found = []
        with app.connection_for_read() as connection:
            channel = connection.default_channel
            while (message := channel.basic_get(name, no_ack=True)) is not None:
                found.append((message.headers["task"], message.payload[0]))
        return found

    def deliveries(self) -> set[str]:
        return {args[0] for _, args in self.messages()}
