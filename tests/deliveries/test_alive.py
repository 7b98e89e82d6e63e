"""The health check of a container tells a worker that hangs from one that waits for its broker."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings

from config.celery import app
from deliveries import alive

Silent = Callable[..., str | None]


@pytest.fixture
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Silent:
    """What the check says of a worker that was last heard of two minutes ago."""
    monkeypatch.setenv(alive.VARIABLE, str(tmp_path))
    alive.touch(str(tmp_path), "worker")
    assert alive.main("worker") is None
    before = time.time() - 120
    os.utime(tmp_path / "worker", (before, before))

    def check(redis_url: str, **environment: str) -> str | None:
        for name, value in {"BROKER_URL": "", "REDIS_URL": redis_url, **environment}.items():
            monkeypatch.setenv(name, value)
        return alive.main("worker")

    return check


@pytest.mark.parametrize(
    "broker", [settings.REDIS_URL, "", "nonsense"], ids=["there", "not named", "nonsense"]
)
def test_one_that_is_silent_hangs(silent: Silent, broker: str) -> None:
    assert silent(broker) == "The worker gave no sign of life for 120 s."


@pytest.mark.parametrize(
    "broker", ["redis://{}/0", "rediss://{}/0", "sentinel://{}/0?master=primary", "amqp://{}//"]
)
def test_one_whose_broker_is_away_waits_for_it(silent: Silent, broker: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert silent(broker.format(f"127.0.0.1:{port}")) is None


def test_the_broker_may_be_another_than_the_redis_of_the_rest(silent: Silent) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    away = f"redis://127.0.0.1:{port}/0"
    assert silent(settings.REDIS_URL, BROKER_URL=away) is None
    assert silent(away, BROKER_URL=settings.REDIS_URL) is not None


def test_so_does_one_whose_broker_says_nothing(
    silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alive, "BROKER_PATIENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as dumb:
        assert silent(f"redis://127.0.0.1:{dumb.getsockname()[1]}/0") is None


def test_it_waits_however_long() -> None:
    assert app.conf.broker_connection_max_retries is None
