"""Names are looked up in threads, of which none that hangs may take all."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from ipaddress import ip_address

import pytest

from tests.webhooks.sending.conftest import LOOPBACK
from webhooks.addresses import Address
from webhooks.sending import names
from webhooks.sending.names import Names

LookUp = Callable[[str], "Future[list[Address]]"]

PATIENCE = 20
FOUND = [ip_address("127.0.0.1")]


@pytest.fixture
def hanging() -> set[str]:
    """The names whose look-up does not end before the test does."""
    return set()


@pytest.fixture
def look_up(hanging: set[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[LookUp]:
    monkeypatch.setattr(names, "MAX_LOOK_UPS", 2)
    over = threading.Event()

    def resolve(host: str) -> list[str]:
        if host in hanging:
            over.wait()
        return ["127.0.0.1"]

    with closing(Names(LOOPBACK, resolve)) as looked_up:
        yield looked_up.look_up
        over.set()


def test_however_many_hang_those_that_were_found_before_do_not_wait(
    look_up: LookUp, hanging: set[str]
) -> None:
    assert look_up("receiver.example").result(PATIENCE) == FOUND
    hanging |= {f"{number}.silent.example" for number in range(10)}
    for host in hanging:
        look_up(host)
    for _ in range(3):
        assert look_up("receiver.example").result(PATIENCE) == FOUND


def test_one_that_was_found_and_hangs_takes_one_thread_and_no_more(
    look_up: LookUp, hanging: set[str]
) -> None:
    for host in ("receiver.example", "silent.example"):
        assert look_up(host).result(PATIENCE) == FOUND
    hanging.add("silent.example")
    for _ in range(10):
        look_up("silent.example")
    assert look_up("receiver.example").result(PATIENCE) == FOUND


def test_those_found_longest_ago_are_forgotten(
    look_up: LookUp, hanging: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "MAX_FOUND", 1)
    for host in ("first.example", "second.example"):
        look_up(host).result(PATIENCE)
    hanging |= {"silent.example", "quiet.example"}
    for host in hanging:
        look_up(host)
    waiting = look_up("first.example")
    assert look_up("second.example").result(PATIENCE) == FOUND
    assert not waiting.done()
