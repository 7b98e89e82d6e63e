"""PgBouncer in transaction mode: each transaction may be on another of PostgreSQL's connections."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from config.embedded import free_port
from deliveries.emit import emit
from deliveries.models import Attempt, Delivery
from subscriptions.history import HistoryEntry
from subscriptions.models import ApiKey
from tests import processes
from tests.conftest import MakeEndpoint
from tests.processes import database_url, wait_until
from tests.receiver import Answer, Receiver

EVENTS = 100
CONNECTIONS = 2
"""Fewer than there are clients, so that they have to share them."""


@pytest.fixture
def pgbouncer(transactional_db: None, tmp_path: Path) -> Iterator[str]:
    """The test's database through a PgBouncer; its URL."""
    binary = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if binary is None:
        pytest.skip("no pgbouncer is installed")
    url = urlsplit(database_url())
    host = parse_qs(url.query).get("host", [url.hostname])[0]
    database = url.path.removeprefix("/")
    port = free_port()
    configuration = tmp_path / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n{database} = host={host} port={url.port or 5432} user={url.username}\n"
        "[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = any\npool_mode = transaction\ndefault_pool_size = {CONNECTIONS}\n"
    )
    # It refuses to run as root, as PostgreSQL does, and has to get at PostgreSQL's socket.
    whom = ["-u", Path(str(host)).owner()] if os.geteuid() == 0 else []
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    with (tmp_path / "pgbouncer.log").open("wb") as log:
        bouncer = subprocess.Popen([binary, *whom, configuration], stdout=log, stderr=log)
    try:
        text = (tmp_path / "pgbouncer.log").read_text
        wait_until(lambda: "process up" in text() or bouncer.poll() is not None, "PgBouncer")
        assert bouncer.poll() is None, text()
        yield (
            f"postgresql://{url.username}@127.0.0.1:{port}/{database}"
            "?DISABLE_SERVER_SIDE_CURSORS=true"
        )
    finally:
        bouncer.terminate()
        bouncer.wait(10)


def emitted_and_listed_by_the_api(url: str) -> str:
    """The id of an event that is the newest of the list once it is emitted."""
    _, key = ApiKey.objects.create_key(name="an application")
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {key}"
        events = f"{url}/api/v1/events/"
        made = session.post(events, json={"type": "invoice.paid", "data": {}}, timeout=30)
        assert made.status_code == 201
        listed = session.get(events, timeout=30).json()["results"]
    event: str = made.json()["id"]
    assert (listed[0]["id"], len(listed) > 1) == (event, True)
    return event


def test_everything_is_delivered_by_workers_that_share_two_connections(
    pgbouncer: str,
    quick_schedules: None,
    make_endpoint: MakeEndpoint,
    receiver: Receiver,
    lane: str,
    tmp_path: Path,
) -> None:
    receiver.answers["/hook"] = lambda _, number: Answer(500 if number == 1 else 200)
    make_endpoint(url=receiver.url())
    make_endpoint(url=receiver.url("/batches"), batch_events=10, batch_seconds=1)
    gone = make_endpoint(url=receiver.url("/gone"))
    receiver.answers["/gone"] = lambda _, __: Answer(410)
    through = {"DATABASE_URL": pgbouncer, "LANE": lane}
    with (
        processes.worker(tmp_path / "one.log", "--hostname", "one@%h", **through) as one,
        processes.worker(tmp_path / "two.log", "--hostname", "two@%h", **through) as two,
        processes.beat(tmp_path / "beat.log", **through),
    ):
        emitted = {emit("invoice.paid", {"n": n}).pk for n in range(EVENTS)}
        if lane == "courier":  # to web servers both lanes are one
            with processes.web(tmp_path / "web.log", DATABASE_POOL_SIZE="4", **through) as url:
                emitted.add(emitted_and_listed_by_the_api(url))
        under_way = Delivery.objects.exclude(endpoint=gone).filter(ended_at=None)
        wait_until(lambda: not under_way.exists(), "every delivery", patience=90)
        assert "Traceback" not in one.text() + two.text()
    assert {one.id for one in receiver.received if one.path == "/hook"} == emitted
    assert Attempt.objects.filter(outcome="delivered").count() >= EVENTS
    # Whose a change is, is told to the transaction and not to the connection, which others share.
    disabled = HistoryEntry.objects.get(object_id=gone.pk, action="changed")
    assert disabled.actor_kind == "angarium"
