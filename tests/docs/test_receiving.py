"""The programs on docs/receiving.md, run as they stand there."""

import base64
import hmac
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import IO

import pytest
from django.conf import LazySettings
from django.test import Client

from deliveries import plain_lane
from deliveries.emit import emit
from deliveries.models import Delivery
from subscriptions.ids import to_uuid
from subscriptions.models import SigningSecret
from tests.conftest import MakeEndpoint, Queue
from tests.processes import ROOT
from webhooks import signing
from webhooks.keys import Kind, generate_secret, signing_key

PAGE = (ROOT / "docs" / "receiving.md").read_text()
BODY = '{"type":"invoice.paid","timestamp":"2026-07-28T11:59:58Z","data":{"payer":"Åsa"}}'.encode()
SECRET, OTHER = generate_secret(), generate_secret()
ED25519 = generate_secret(Kind.ED25519)
PUBLIC = signing_key(ED25519).public

NODE = shutil.which("node")
LANGUAGES = [
    "python",
    pytest.param("node", marks=pytest.mark.skipif(NODE is None, reason="Node is not installed")),
]
COMMANDS = {"python": [sys.executable], "node": [NODE or "node"]}
SUFFIXES = {"python": ".py", "node": ".mjs"}


def program(name: str) -> str:
    """The one block of code on the page that begins with its name."""
    [block] = re.findall(rf"```\w+\n((?:#|//) {re.escape(name)}\n.*?)```", PAGE, re.DOTALL)
    return str(block)


def of(language: str) -> str:
    return program(f"receiver{SUFFIXES[language]}")


def with_ed25519(language: str) -> str:
    """The receiver with the page's other `fits` in the place of its own."""
    fits = program(f"fits{SUFFIXES[language]}")
    changed, replaced = re.subn(
        r"^(?:def|function) fits\(.*?\n(?=\n*^[a-z])",
        lambda _: fits,
        of(language),
        flags=re.DOTALL | re.MULTILINE,
    )
    assert replaced == 1
    return changed


@dataclass(frozen=True)
class Running:
    """A receiver that listens on 127.0.0.1, and what it prints of each event that it handles."""

    port: int
    output: IO[str]

    def answer(self, headers: dict[str, str], body: bytes = BODY) -> int:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", "/webhooks", body, headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def handled(self) -> str:
        """The next event's id and type."""
        return " ".join(self.output.readline().split()[:2])


@contextmanager
def running(directory: Path, language: str, source: str, *secrets: str) -> Iterator[Running]:
    file = directory / f"receiver{SUFFIXES[language]}"
    file.write_text(source)
    child = subprocess.Popen(
        [*COMMANDS[language], file],
        env={**os.environ, "PORT": "0", "WEBHOOK_SECRETS": " ".join(secrets)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdout is not None
    try:
        ready = re.fullmatch(r"listens on (\d+)\n", child.stdout.readline())
        assert ready is not None, f"{file} did not start"
        yield Running(int(ready[1]), child.stdout)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


@pytest.fixture(scope="module", params=LANGUAGES)
def receiver(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """Knows one secret, whsec_…"""
    language = request.param
    with running(tmp_path_factory.mktemp(language), language, of(language), SECRET) as receiver:
        yield receiver


@pytest.fixture(scope="module", params=LANGUAGES)
def ed25519_receiver(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """Knows one public key, whpk_…"""
    language = request.param
    source = with_ed25519(language)
    with running(tmp_path_factory.mktemp(language), language, source, PUBLIC) as receiver:
        yield receiver


def signed(*secrets: str, message_id: str = "evt_1", off: int = 0) -> dict[str, str]:
    return signing.headers(message_id, int(time.time()) + off, BODY, secrets)


@pytest.mark.django_db
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", Kind)
def test_a_receiver_takes_what_angarium_delivers(
    tmp_path: Path, make_endpoint: MakeEndpoint, queue: Queue, language: str, kind: Kind
) -> None:
    endpoint = make_endpoint()
    secret = SigningSecret.objects.issue(endpoint, kind=kind)
    SigningSecret.objects.expire_replaced(endpoint)
    source = with_ed25519(language) if secret.public_key else of(language)
    with running(tmp_path, language, source, secret.public_key or secret.reveal() or "") as ours:
        endpoint.url = f"http://127.0.0.1:{ours.port}/webhooks"
        endpoint.save()
        event = emit("invoice.paid", {"payer": "Åsa"})
        plain_lane.deliver(to_uuid(Delivery.objects.get().pk))
        assert ours.handled() == f"{event.pk} invoice.paid"
    assert Delivery.objects.get().state == "delivered"


@pytest.mark.parametrize("secrets", [[SECRET], [SECRET, OTHER], [OTHER, ED25519, SECRET]])
def test_one_signature_that_fits_is_enough(receiver: Running, secrets: list[str]) -> None:
    assert receiver.answer(signed(*secrets)) == 204


@pytest.mark.parametrize("off", [-290, 290])
def test_a_timestamp_may_be_somewhat_off(receiver: Running, off: int) -> None:
    assert receiver.answer(signed(SECRET, off=off)) == 204


REFUSED: dict[str, Callable[[], dict[str, str]]] = {
    "another secret": lambda: signed(OTHER),
    "another kind": lambda: signed(ED25519),
    "too old": lambda: signed(SECRET, off=-310),
    "in the future": lambda: signed(SECRET, off=310),
    "no id": lambda: {**signed(SECRET), "webhook-id": ""},
    "another id": lambda: {**signed(SECRET), "webhook-id": "evt_2"},
    "an id that shifts what is signed": lambda: {**signed(SECRET), "webhook-id": "evt.1"},
    "another timestamp": lambda: {**signed(SECRET), "webhook-timestamp": str(int(time.time()) - 1)},
    "no timestamp": lambda: {**signed(SECRET), "webhook-timestamp": ""},
    "not a number": lambda: {**signed(SECRET), "webhook-timestamp": "1e9"},
    "an endless number": lambda: {**signed(SECRET), "webhook-timestamp": "9" * 400},
    "no signature": lambda: {**signed(SECRET), "webhook-signature": ""},
    "no version": lambda: {
        **signed(SECRET),
        "webhook-signature": signed(SECRET)["webhook-signature"][3:],
    },
    "another version": lambda: {
        **signed(SECRET),
        "webhook-signature": signed(SECRET)["webhook-signature"].replace("v1", "v2"),
    },
    "part of a signature": lambda: {
        **signed(SECRET),
        "webhook-signature": signed(SECRET)["webhook-signature"][:-5],
    },
    "not of ASCII": lambda: {**signed(SECRET), "webhook-signature": "v1,é v1a,é"},
    "no header at all": dict,
}


@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED)
def test_what_is_not_as_it_was_signed_is_refused(
    receiver: Running, headers: Callable[[], dict[str, str]]
) -> None:
    assert receiver.answer(headers()) == 401


def test_another_body_is_refused(receiver: Running) -> None:
    assert receiver.answer(signed(SECRET), BODY + b" ") == 401


def test_an_id_that_came_before_is_taken_and_not_handled_again(receiver: Running) -> None:
    for message_id in ("evt_twice", "evt_twice", "evt_once"):
        assert receiver.answer(signed(SECRET, message_id=message_id)) == 204
    handled = [receiver.handled()]
    while handled[-1] != "evt_once invoice.paid":
        handled.append(receiver.handled())
    assert handled.count("evt_twice invoice.paid") == 1


def test_a_body_without_end_is_refused_unread(receiver: Running) -> None:
    assert receiver.answer({**signed(SECRET), "content-length": str(10**12)}, b"") == 413


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_receiver_without_secrets_takes_nothing(tmp_path: Path, language: str) -> None:
    # A signature that fits the empty key would fit an empty secret.
    headers = signed(SECRET)
    content = f"evt_1.{headers['webhook-timestamp']}.".encode() + BODY
    digest = base64.b64encode(hmac.digest(b"", content, "sha256")).decode()
    with running(tmp_path, language, of(language)) as ours:
        assert ours.answer({**headers, "webhook-signature": f"v1,{digest}"}) == 401


class TestEd25519:
    @pytest.mark.parametrize("secrets", [[ED25519], [SECRET, ED25519]])
    def test_a_signature_of_its_own_is_taken(
        self, ed25519_receiver: Running, secrets: list[str]
    ) -> None:
        assert ed25519_receiver.answer(signed(*secrets)) == 204

    @pytest.mark.parametrize(
        "change",
        [
            lambda _: signed(SECRET)["webhook-signature"],
            lambda _: signed(generate_secret(Kind.ED25519))["webhook-signature"],
            lambda right: right.replace("v1a", "v1"),
            lambda right: right[:-8],
            lambda _: "v1a,é",
            lambda _: "v1a," + base64.b64encode(bytes(64)).decode(),
        ],
    )
    def test_any_other_is_refused(
        self, ed25519_receiver: Running, change: Callable[[str], str]
    ) -> None:
        headers = signed(ED25519)
        headers["webhook-signature"] = change(headers["webhook-signature"])
        assert ed25519_receiver.answer(headers) == 401

    def test_another_body_is_refused(self, ed25519_receiver: Running) -> None:
        assert ed25519_receiver.answer(signed(ED25519), BODY + b" ") == 401


def test_the_library_takes_what_angarium_signs() -> None:
    names = {"secret": SECRET, "body": BODY, "headers": signed(SECRET)}
    exec(program("with the library"), names)
    assert names["event"]["type"] == "invoice.paid"  # type: ignore[index]


@pytest.mark.django_db
@pytest.mark.parametrize(("secret", "key"), [(SECRET, SECRET), (ED25519, PUBLIC)], ids=list(Kind))
def test_the_django_app_takes_what_angarium_signs(
    client: Client,
    settings: LazySettings,
    capsys: pytest.CaptureFixture[str],
    secret: str,
    key: str,
) -> None:
    settings.WEBHOOK_SECRETS = [key]
    names: dict[str, object] = {}
    exec(program("urls.py"), names)
    settings.ROOT_URLCONF = tuple(names["urlpatterns"])  # type: ignore[arg-type]
    for _ in range(2):
        sent = client.post("/webhooks/", BODY, "application/json", headers=signed(secret))
        assert sent.status_code == 204
    assert capsys.readouterr().out == "evt_1 invoice.paid {'payer': 'Åsa'}\n"
    forged = client.post("/webhooks/", BODY, "application/json", headers=signed(OTHER))
    assert forged.status_code == 401
