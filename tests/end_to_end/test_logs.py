"""What a worker's log says of deliveries: one line for what went wrong, with all ids."""

import json
from pathlib import Path
from typing import Any

import pytest

from deliveries.emit import emit
from deliveries.models import Delivery
from subscriptions.models import Endpoint
from tests import processes
from tests.conftest import MakeEndpoint
from tests.processes import Process, wait_until
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)


def ids(endpoint: Endpoint) -> dict[str, str]:
    delivery = Delivery.objects.get(endpoint=endpoint)
    return {
        "delivery_id": delivery.pk,
        "event_id": delivery.event_id,
        "endpoint_id": endpoint.pk,
    }


def lines(worker: Process) -> list[dict[str, Any]]:
    return [json.loads(line) for line in worker.text().splitlines() if line.startswith("{")]


def test_failed_attempts_dead_letters_and_disabled_endpoints_have_a_line_each(
    lane: str, make_endpoint: MakeEndpoint, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.answers["/hook"] = lambda _, number: Answer(500 if number == 1 else 200)
    receiver.answers["/gone"] = lambda *_: Answer(410)
    flapping = make_endpoint(url=receiver.url())
    gone = make_endpoint(url=receiver.url("/gone"))
    make_endpoint(url=receiver.url("/well"))
    with processes.worker(tmp_path / "worker.log", LANE=lane) as worker:
        emit("invoice.paid", {})
        wait_until(lambda: not Delivery.objects.filter(ended_at=None).exists(), "the end of all")
    told = [
        (line["level"], line["message"].partition(": ")[2], names)
        for line in lines(worker)
        if (names := {name: line[name] for name in line if name.endswith("_id")})
    ]
    assert len(told) == 3
    assert ("info", "rejected 500; the next in 1 s", ids(flapping)) in told
    assert ("warning", "rejected 410; dead, gone", ids(gone)) in told
    assert ("warning", "it answered 410 Gone", {"endpoint_id": gone.pk}) in told
