"""A web server that reads its lists from a streaming replica."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
import requests
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoDbBlocker

from deliveries.emit import emit
from subscriptions.models import ApiKey, EventType
from tests import processes
from tests.processes import wait_until
from tests.replica import Replica, streaming_replica

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def replica(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Replica]:
    with django_db_blocker.unblock(), streaming_replica() as replica:
        yield replica


@pytest.fixture(scope="module")
def address(replica: Replica, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("logs") / "web.log"
    with processes.web(log, DATABASE_REPLICA_URL=replica.url) as address:
        yield address


@pytest.fixture
def visit(address: str, transactional_db: None) -> "Visit":
    return Visit(address)


class Visit:
    """Somebody with an API key, who is logged in to the admin too."""

    def __init__(self, address: str) -> None:
        self.address = address
        _, key = ApiKey.objects.create_key(name="replica", rate="100000/s")
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {key}"
        client = Client()
        client.force_login(User.objects.create_superuser("shirin"))
        self.session.cookies.set("sessionid", client.cookies["sessionid"].value)

    def get(self, path: str) -> str:
        answer = self.session.get(f"{self.address}{path}", allow_redirects=False)
        assert answer.status_code == 200, answer.text
        return answer.text

    def add_subscriber(self) -> str:
        name = f"Subscriber {uuid4().hex}"
        added = self.session.post(f"{self.address}/api/v1/subscribers/", json={"name": name})
        assert added.status_code == 201, added.text
        return name


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/events/?type={name}",
        "/api/v1/dead-letters/?event_type={name}",
        "/api/v1/dead-letters/export/?event_type={name}",
        "/admin/deliveries/event/?type={name}",
    ],
)
def test_lists_and_exports_are_read_from_the_replica(
    visit: Visit, replica: Replica, path: str
) -> None:
    name = f"replica.{uuid4().hex}"
    emit(name, {})

    def is_asked() -> bool:
        visit.get(path.format(name=name))
        return replica.has_been_asked_for(name)

    wait_until(is_asked, "the replica to be asked", patience=20)


def test_one_thing_is_read_from_the_primary(visit: Visit, replica: Replica) -> None:
    name = f"replica.{uuid4().hex}"
    EventType.objects.create(name=name)
    visit.get(f"/api/v1/event-types/{name}/")
    assert not replica.has_been_asked_for(name)


def test_a_list_never_lacks_what_was_written_before(visit: Visit) -> None:
    for _ in range(20):
        assert visit.add_subscriber() in visit.get("/api/v1/subscribers/")


def test_a_list_is_read_from_the_primary_while_the_replica_is_behind(
    visit: Visit, replica: Replica
) -> None:
    replica.pause()
    for _ in range(5):
        name = visit.add_subscriber()
        assert name in visit.get("/api/v1/subscribers/")
        assert name in visit.get("/admin/subscriptions/subscriber/")
    replica.resume()


def test_a_list_is_read_from_the_primary_while_the_replica_is_away(
    visit: Visit, replica: Replica
) -> None:
    replica.stop()
    for _ in range(5):
        assert visit.add_subscriber() in visit.get("/api/v1/subscribers/")
