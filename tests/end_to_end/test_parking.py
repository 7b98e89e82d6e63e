"""Long waits lie in the database, not in a worker's memory."""

from pathlib import Path

import pytest

from deliveries.emit import emit
from deliveries.models import Delivery
from tests import processes
from tests.conftest import MakeEndpoint
from tests.processes import wait_until
from tests.receiver import Answer, Receiver


@pytest.mark.django_db(transaction=True)
def test_long_waits_are_parked_and_enqueued_by_the_sweep(
    quick_schedules: None,
    make_endpoint: MakeEndpoint,
    receiver: Receiver,
    lane: str,
    tmp_path: Path,
) -> None:
    receiver.answers["/hook"] = lambda _, number: Answer(500 if number == 1 else 200)
    make_endpoint(url=receiver.url())
    parking = {"ANGARIUM_RETRY_COUNTDOWN_MAX": "0.5", "LANE": lane, "LOG_LEVEL": "DEBUG"}
    with (
        processes.worker(tmp_path / "worker.log", **parking) as worker,
        processes.beat(tmp_path / "beat.log"),
    ):
        emit("invoice.paid", {})
        receiver.wait_for(2)
        delivered = Delivery.objects.filter(state="delivered")
        wait_until(delivered.exists, "the record")
        assert "Retry in" not in worker.text()
