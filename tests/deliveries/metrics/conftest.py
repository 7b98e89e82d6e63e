"""/metrics of this very process, with nothing counted before."""

from collections.abc import Callable

import pytest
from django.conf import settings
from django.test import Client
from redis import Redis

from deliveries.metrics import exposition
from deliveries.metrics.reporting import SEEN, TOTALS, reporter
from tests.conftest import Configure
from tests.prometheus import TOKEN, Samples

Scrape = Callable[[], Samples]


@pytest.fixture
def redis() -> Redis:
    return Redis.from_url(settings.REDIS_URL, decode_responses=True)


@pytest.fixture
def nothing_counted(redis: Redis) -> None:
    reporter.report()
    redis.delete(TOTALS, SEEN)


@pytest.fixture
def scrape(
    db: None, nothing_counted: None, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> Scrape:
    configure(METRICS_TOKEN=TOKEN)
    monkeypatch.setattr(exposition, "FRESH_FOR", 0)

    def ask() -> Samples:
        reporter.report()
        answer = Client().get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200, answer.content
        return Samples(answer.content.decode())

    return ask
