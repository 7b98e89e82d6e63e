"""/metrics over real processes: the sums are what happened, whichever process it happened in."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
import requests
from django.conf import settings

from deliveries.emit import emit
from deliveries.metrics.reporting import SEEN, TOTALS, reporter, totals
from deliveries.models import Attempt, Delivery, Event
from subscriptions.models import ApiKey
from tests import processes
from tests.conftest import MakeEndpoint
from tests.processes import ROOT, Process, wait_until
from tests.prometheus import TOKEN, Samples
from tests.receiver import Answer, Received, Receiver

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nothing_counted(transactional_db: None) -> None:
    reporter.report()
    redis.Redis.from_url(settings.REDIS_URL).delete(TOTALS, SEEN)


@pytest.fixture
def web(nothing_counted: None, tmp_path: Path) -> Iterator[str]:
    with processes.web(tmp_path / "web.log", ANGARIUM_METRICS_TOKEN=TOKEN) as url:
        yield url


Scrape = Callable[[], Samples]


@pytest.fixture
def scrape(web: str) -> Scrape:
    def ask() -> Samples:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = requests.get(f"{web}/metrics", headers=headers, timeout=10)
        assert answer.status_code == 200, answer.text
        return Samples(answer.text)

    return ask


def all_ended() -> bool:
    return not Delivery.objects.filter(ended_at=None).exists()


def what_happened() -> dict[str, object]:
    """As the rows have it."""
    attempts = Counter(Attempt.objects.values_list("outcome", flat=True))
    ended = Counter(Delivery.objects.values_list("state", flat=True))
    return {
        "events": Event.objects.count(),
        "attempts": dict(attempts),
        "timed attempts": attempts.total(),
        "deliveries": {state: ended[state] for state in ("delivered", "dead")},
        "timed deliveries": attempts["delivered"],
    }


def what_is_told(samples: Samples) -> dict[str, object]:
    attempts = samples.labelled("angarium_attempts_total")
    return {
        "events": samples["angarium_events_total"],
        "attempts": {outcome: count for outcome, count in attempts.items() if count},
        "timed attempts": samples["angarium_attempt_seconds_count"],
        "deliveries": samples.labelled("angarium_deliveries_total"),
        "timed deliveries": samples["angarium_delivery_seconds_count"],
    }


def fails_once(_: Received, number: int) -> Answer:
    return Answer(500 if number == 1 else 200)


def emits_over_http(web: str, count: int) -> None:
    _, key = ApiKey.objects.create_key(name="application", rate="100000/s")
    for number in range(count):
        answer = requests.post(
            f"{web}/api/v1/events/",
            json={"type": "invoice.paid", "data": {"n": number}},
            headers={"Authorization": f"Bearer {key}"},
            timeout=10,
        )
        assert answer.status_code == 201, answer.text


def test_two_workers_two_web_processes_and_an_application_are_in_one_sum(
    web: str,
    beat: Process,
    scrape: Scrape,
    make_endpoint: MakeEndpoint,
    receiver: Receiver,
    lane: str,
    tmp_path: Path,
) -> None:
    receiver.answers["/flapping"] = fails_once
    receiver.answers["/gone"] = lambda *_: Answer(410)
    make_endpoint(url=receiver.url())
    make_endpoint(url=receiver.url("/flapping"))
    make_endpoint(url=receiver.url("/batches"), batch_events=7, batch_seconds=1)
    with ExitStack() as workers:
        for name in ("first", "second"):
            workers.enter_context(
                processes.worker(tmp_path / f"{name}.log", "--hostname", f"{name}@%h", LANE=lane)
            )
        wait_until(lambda: scrape()["angarium_workers"] == 2, "both workers to be seen")
        emits_over_http(web, 20)
        for number in range(20):
            emit("invoice.paid", {"n": number})
        make_endpoint(url=receiver.url("/gone"))
        emit("invoice.paid", {"n": "the last"})
        wait_until(all_ended, "the end of all deliveries")
    # The workers have ended within the second, and told what they had counted in it.
    happened = what_happened()
    assert happened["events"] == 41
    wait_until(lambda: what_is_told(scrape()) == happened, f"{happened} in the metrics", 15)


def test_what_a_worker_has_told_is_kept_when_it_is_killed_and_is_added_once(
    scrape: Scrape, make_endpoint: MakeEndpoint, receiver: Receiver, lane: str, tmp_path: Path
) -> None:
    make_endpoint(url=receiver.url())
    with processes.worker(tmp_path / "first.log", LANE=lane) as victim:
        for number in range(30):
            emit("invoice.paid", {"n": number})
        wait_until(
            lambda: scrape()["angarium_attempts_total", "delivered"] == 30, "the first metrics"
        )
        victim.kill()
    with processes.worker(tmp_path / "second.log", LANE=lane):
        emit("invoice.paid", {"n": 30})
        wait_until(all_ended, "the last")
    wait_until(
        lambda: scrape()["angarium_attempts_total", "delivered"] == 31, "the last metrics", 15
    )


def test_beat_and_the_sweeps_are_seen(scrape: Scrape, worker: Process, beat: Process) -> None:
    def sweeps_seen() -> set[str]:
        _, seen = totals(settings.REDIS_URL).read()
        return {name.removeprefix("sweep:") for name in seen if name.startswith("sweep:")}

    lags = scrape().labelled("angarium_sweep_lag_seconds")
    wait_until(lambda: sweeps_seen() == set(lags), f"{set(lags)} to be seen")
    wait_until(lambda: scrape()["angarium_beats"] == 1, "beat to be seen")


def test_a_worker_and_beat_give_the_signs_of_life_that_their_containers_ask_for(
    quick_schedules: None, lane: str, tmp_path: Path
) -> None:
    signs = tmp_path / "signs"
    signs.mkdir()
    variables = {"ANGARIUM_HEARTBEAT_DIRECTORY": str(signs)}

    def asks(kind: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "deliveries.alive", kind],
            cwd=ROOT,
            env=variables,
            capture_output=True,
            text=True,
        )
        return "alive" if done.returncode == 0 else done.stderr

    assert "gave no sign of life" in asks("worker")
    assert "gave no sign of life" in asks("beat")
    with (
        processes.worker(tmp_path / "worker.log", LANE=lane, **variables),
        processes.beat(tmp_path / "beat.log", **variables),
    ):
        wait_until(lambda: asks("worker") == asks("beat") == "alive", "both signs of life")
