"""All that goes to Redis over TLS, with certificates on both sides."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deliveries.emit import emit
from deliveries.models import Delivery
from subscriptions.models import Endpoint
from subscriptions.redis_address import RedisAddress
from tests import processes
from tests.brokers import ring_at
from tests.conftest import MakeEndpoint
from tests.processes import wait_until
from tests.receiver import Answer, Receiver
from tests.redis_sentinels import watched_over_tls
from tests.redis_tls import own_certificate, redis_over_tls
from tests.webhooks.sending.certificates import Authority

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["alone", "with a Sentinel"])
def url(request: pytest.FixtureRequest, authority: Authority, tmp_path: Path) -> Iterator[str]:
    options = f"ssl_ca_certs={authority.bundle}&{own_certificate(authority)}"
    if request.param == "alone":
        with redis_over_tls(authority) as url:
            yield f"{url}?{options}"
    else:
        with watched_over_tls(tmp_path, authority) as url:
            yield f"{url}&{options}"


def test_messages_metrics_and_circuits_go_over_tls(
    url: str,
    lane: str,
    make_endpoint: MakeEndpoint,
    receiver: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_endpoint(url=receiver.url())
    failing = make_endpoint(url=receiver.url("/failing"))
    receiver.answers["/failing"] = lambda _, __: Answer(500)
    ring_at(url, lane, monkeypatch)
    urls = {"BROKER_URL": url, "REDIS_URL": url}
    secure = {"LANE": lane, **urls, "ANGARIUM_CIRCUIT_FAILURE_RATE": "0.5"}
    with processes.worker(tmp_path / "worker.log", **secure):
        emitted = {emit("invoice.paid", {"n": n}).pk for n in range(20)}
        delivered = Delivery.objects.filter(state="delivered").exclude(endpoint=failing)
        wait_until(lambda: delivered.count() == len(emitted), "every delivery")
        circuit = Endpoint.objects.filter(pk=failing.pk, circuit="open")
        wait_until(circuit.exists, "the circuit to open")
        redis = RedisAddress.parse(url).client(patience=1.0)
        wait_until(lambda: redis.exists("angarium:metrics"), "the worker's metrics")
    assert {one.id for one in receiver.received if one.path == "/hook"} == emitted
