"""An egress proxy, from the setting to a real proxy and an endpoint behind it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deliveries.emit import emit
from deliveries.models import Attempt, Delivery
from tests import processes
from tests.conftest import MakeEndpoint
from tests.processes import wait_until
from tests.receiver import Receiver
from tests.webhooks.sending.connect_proxy import ConnectProxy
from tests.webhooks.sending.test_proxy import BASIC

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def proxy() -> Iterator[ConnectProxy]:
    with ConnectProxy(credentials=BASIC) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def log(
    django_db_setup: None, tmp_path_factory: pytest.TempPathFactory, lane: str, proxy: ConnectProxy
) -> Iterator[Path]:
    """Of a worker that has to go through the proxy."""
    log = tmp_path_factory.mktemp("logs") / "worker.log"
    url = proxy.url("us:open%3A%20s%40same")
    with processes.worker(log, LANE=lane, LOG_LEVEL="DEBUG", ANGARIUM_EGRESS_PROXY=url):
        yield log


def test_deliveries_go_through_the_proxy_and_its_password_goes_nowhere_else(
    log: Path, make_endpoint: MakeEndpoint, receiver: Receiver, proxy: ConnectProxy
) -> None:
    # The proxy alone finds the first name; the second is found by nobody.
    there = make_endpoint(url=receiver.url().replace("127.0.0.1", "tunnelled.example"))
    nowhere = make_endpoint(url="http://nowhere.invalid/hook")
    emit("invoice.paid", {})
    [request] = receiver.wait_for(1)
    assert request.headers["webhook-signature"].startswith("v1,")
    assert "proxy-authorization" not in request.headers

    wait_until(lambda: Attempt.objects.filter(number=1).count() == 2, "the records")
    assert Delivery.objects.get(endpoint=there).state == Delivery.State.DELIVERED
    failed = Attempt.objects.get(delivery__endpoint=nowhere, number=1)
    assert failed.outcome == "connection_failed"
    assert failed.error == "the egress proxy answered 502 Bad Gateway"
    assert {head.split(" ")[1].partition(":")[0] for head in proxy.heads} == {
        "tunnelled.example",
        "nowhere.invalid",
    }
    for secret in (BASIC[6:], "s%40same", "s@same"):
        assert secret not in log.read_text()
