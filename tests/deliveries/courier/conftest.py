"""What the tests of the courier need beside the deliveries' fixtures."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.conf import settings

from config.celery import app
from deliveries.bell import DELIVER
from deliveries.emit import emit
from deliveries.models import Delivery
from subscriptions.models import Endpoint
from tests.conftest import MakeEndpoint
from tests.deliveries.courier.turnstile import Turnstile
from tests.processes import wait_until
from tests.receiver import Receiver


@pytest.fixture
def turnstile() -> Iterator[Turnstile]:
    turnstile = Turnstile()
    yield turnstile
    turnstile.open()


MakeUnrung = Callable[..., list[str]]


@pytest.fixture
def make_unrung(make_endpoint: MakeEndpoint, receiver: Receiver) -> MakeUnrung:
    """Deliveries that are to be sent, and for which no message is under way."""

    def make(count: int = 1, path: str = "/hook") -> list[str]:
        event_type = f"unrung.{path.strip('/')}"
        endpoint = make_endpoint(event_type, url=receiver.url(path), state="paused")
        for number in range(count):
            emit(event_type, number)
        Endpoint.objects.filter(pk=endpoint.pk).update(state="active")
        held = Delivery.objects.filter(endpoint=endpoint)
        held.update(state="pending")
        return list(held.values_list("pk", flat=True))

    return make


def ring(delivery: str, **options: Any) -> str:
    """Send the message for a delivery; returns the task's id."""
    task_id: str = app.send_task(DELIVER, (delivery,), ignore_result=True, **options).id
    return task_id


def all_delivered() -> bool:
    return not Delivery.objects.exclude(state="delivered").exists()


def messages_left() -> tuple[int, int]:
    """How many wait on the broker, and how many are taken and not acknowledged."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        return client.llen("deliveries"), client.hlen("unacked")


def wait_until_all_is_acknowledged() -> None:
    wait_until(lambda: messages_left() == (0, 0), "the acknowledgements")
