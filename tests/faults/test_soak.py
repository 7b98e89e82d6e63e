"""A steady rate for a while: nothing may grow."""

import time
from collections import defaultdict
from dataclasses import dataclass
from statistics import linear_regression, median

import psutil
import pytest
import redis
import requests
from django.conf import settings
from django.db import connection

from config.embedded import free_port
from subscriptions.models import ApiKey
from tests import processes
from tests.conftest import MakeEndpoint
from tests.faults.conftest import Enough, Start, Table
from tests.faults.ledger import Ledger
from tests.processes import Process

pytestmark = pytest.mark.django_db(transaction=True)

RATE = 20
"""Events a second, if the machine can do as much."""
MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """How much something holds, at a time."""

    second: float
    handles: int
    """File descriptors of a process, or connections to a server."""
    memory: int | None = None
    """Bytes in RAM (RSS)."""


class Course:
    """The samples of one thing, of which the first third is for warming up."""

    def __init__(self, samples: list[Sample]) -> None:
        third = len(samples) // 3
        self.middle, self.end = samples[third : 2 * third], samples[2 * third :]

    def handles(self) -> tuple[float, float]:
        return median(one.handles for one in self.middle), median(one.handles for one in self.end)

    def memory(self) -> tuple[float, float] | None:
        """MB after the warm-up and at the end, on the straight line that fits best."""
        points = [
            (one.second, one.memory / MB)
            for one in (*self.middle, *self.end)
            if one.memory is not None
        ]
        if not points:
            return None
        slope, start = linear_regression(*zip(*points, strict=True))
        return start + slope * points[0][0], start + slope * points[-1][0]


def sample_of(process: Process) -> Sample:
    parent = psutil.Process(process.pid)
    family = [parent, *parent.children(recursive=True)]
    return Sample(
        time.monotonic(),
        handles=sum(one.num_fds() for one in family),
        memory=sum(one.memory_info().rss for one in family),
    )


def connections_to_the_database() -> Sample:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        [(count,)] = cursor.fetchall()
    return Sample(time.monotonic(), count)


def connections_to_the_broker(client: redis.Redis) -> Sample:
    return Sample(time.monotonic(), len(client.client_list()))


@pytest.fixture
def address(start: Start) -> tuple[str, Process]:
    """The web server's, and its process."""
    bound = f"127.0.0.1:{free_port()}"
    command = ("gunicorn", "config.wsgi", "--config", "python:config.gunicorn", "--bind", bound)
    web = start(processes.running, *command, "--no-control-socket", ready="Listening at")
    return f"http://{bound}/api/v1/events/", web


@pytest.mark.long("plain")
def test_at_a_steady_rate_neither_memory_nor_descriptors_nor_connections_grow(
    beat: Process,
    make_endpoint: MakeEndpoint,
    ledger: Ledger,
    start_worker: Start,
    address: tuple[str, Process],
    enough: Enough,
    soak_table: Table,
) -> None:
    url, web = address
    make_endpoint(url=ledger.url)
    watched = {"worker": start_worker(), "beat": beat, "web server": web}
    api_key = ApiKey(name="the soak")
    key = ApiKey.objects.assign_key(api_key)
    api_key.save()
    samples: dict[str, list[Sample]] = defaultdict(list)
    began, seconds = time.monotonic(), enough(15, 600)
    with requests.Session() as session, redis.Redis.from_url(settings.REDIS_URL) as client:
        session.headers["Authorization"] = f"Bearer {key}"
        ledger.broken()
        for number in range(seconds * RATE):
            time.sleep(max(0.0, began + number / RATE - time.monotonic()))
            answer = session.post(url, json={"type": ledger.type, "data": {"n": number}})
            ledger.emitted.add(answer.json()["id"])
            if number % (RATE // 2) == 0:
                for name, process in watched.items():
                    samples[name].append(sample_of(process))
                samples["PostgreSQL"].append(connections_to_the_database())
                samples["Redis"].append(connections_to_the_broker(client))
        ledger.mended()
        balance = ledger.close("nothing, for ten minutes or more")
    assert balance.doubled == 0
    for name, course in {name: Course(taken) for name, taken in samples.items()}.items():
        before, after = course.handles()
        memory = course.memory()
        growth = memory and (memory[1] - memory[0]) * 3600 / (seconds * 2 / 3)
        soak_table.append((name, ledger.lane, *(memory or (None, None)), growth, before, after))
        assert after <= before + 2, (name, samples[name])
        # What is taken in a few seconds says little of an hour.
        assert memory is None or memory[1] - memory[0] < enough(20, 2), (name, samples[name])
