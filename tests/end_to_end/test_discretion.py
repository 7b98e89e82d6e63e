"""Where no payload and no secret may appear: in logs, and in what is on record."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from django.db import connection

from deliveries.emit import emit
from deliveries.models import Attempt, Delivery
from subscriptions import encryption
from subscriptions.models import ApiKey, Endpoint, SigningSecret
from tests import processes
from tests.conftest import MakeEndpoint
from tests.processes import wait_until
from tests.receiver import Answer, Receiver
from webhooks.keys import Kind

pytestmark = pytest.mark.django_db(transaction=True)

PAYLOAD = "a customer of ours"


@contextmanager
def refusing_to_keep(text: str) -> Iterator[None]:
    """No attempt can be recorded whose response has the text: its row stands in the error."""
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE deliveries_attempt ADD CONSTRAINT of_the_tests"
            f" CHECK (position('{text}' in response_body) = 0) NOT VALID"
        )
        try:
            yield
        finally:
            cursor.execute("ALTER TABLE deliveries_attempt DROP CONSTRAINT of_the_tests")


@pytest.mark.parametrize("log_format", ["json", "line"])
def test_no_secret_is_in_a_worker_s_log_or_in_what_is_on_record(
    lane: str, log_format: str, make_endpoint: MakeEndpoint, receiver: Receiver, tmp_path: Path
) -> None:
    reached = make_endpoint(url=receiver.url())
    SigningSecret.objects.issue(reached, kind=Kind.ED25519)
    make_endpoint(url="http://127.0.0.1:9/refused")
    make_endpoint("echo", url=receiver.url("/echo"))
    receiver.answers["/echo"] = lambda request, _: Answer(500, request.body)
    broken = make_endpoint(url=receiver.url("/broken"))
    broken.signing_secrets.update(ciphertext="not to be decrypted")
    secrets = SigningSecret.objects.exclude(endpoint=broken)
    hidden = [encryption.decrypt(secret.ciphertext) for secret in secrets]
    hidden += [secret.ciphertext for secret in SigningSecret.objects.all()]
    assert len(hidden) == 9

    logs = {"LOG_LEVEL": "DEBUG", "LOG_FORMAT": log_format}
    with processes.worker(tmp_path / "worker.log", LANE=lane, **logs) as worker:
        emit("invoice.paid", {"name": PAYLOAD})
        receiver.wait_for(1)
        wait_until(lambda: not Delivery.objects.filter(ended_at=None).exists(), "the record")
        with refusing_to_keep(PAYLOAD):
            emit("echo", {"name": PAYLOAD})
            worker.wait_until_it_says("23514 of_the_tests")
    log = worker.text()
    assert "Traceback" in log
    assert ("DEBUG" if log_format == "line" else '"level": "debug"') in log
    assert PAYLOAD not in log
    kept = json.dumps(list(Attempt.objects.values("error", "response_headers", "response_body")))
    assert "ENCRYPTION_KEYS" in kept
    for text in (log, kept):
        assert not [one for one in hidden if one in text]


def test_no_payload_and_no_secret_is_in_the_log_of_web_or_beat(
    make_endpoint: MakeEndpoint, quick_schedules: None, tmp_path: Path
) -> None:
    web_log, beat_log = tmp_path / "web.log", tmp_path / "beat.log"
    make_endpoint()
    _, key = ApiKey.objects.create_key(name="an application")
    token = "open-sesame"
    body = {
        "subscriber": Endpoint.objects.get().subscriber_id,
        "url": "https://example.com/hook?token=in-the-query",
        "authentication": {"kind": "bearer", "token": token},
    }
    with (
        processes.web(web_log, LOG_LEVEL="DEBUG") as url,
        processes.beat(beat_log, LOG_LEVEL="DEBUG") as beat,
    ):
        for path, given in (
            ("events", {"type": "invoice.paid", "data": {"name": PAYLOAD}}),
            ("events", {"type": "invoice paid", "data": {"name": PAYLOAD}}),
            ("endpoints", body),
        ):
            answer = requests.post(
                f"{url}/api/v1/{path}/", json=given, headers={"Authorization": f"Bearer {key}"}
            )
            assert answer.status_code == (400 if "invoice paid" in given.values() else 201)
        beat.wait_until_it_says("deliveries.sweep_due")
    secrets = SigningSecret.objects.all()
    hidden = [PAYLOAD, token, key, "in-the-query", answer.json()["secret"]]
    hidden += [encryption.decrypt(secret.ciphertext) for secret in secrets]
    hidden += [secret.ciphertext for secret in secrets]
    assert len(secrets) == 2
    for log in (web_log, beat_log):
        text = log.read_text()
        assert '"level": "debug"' in text
        assert not [one for one in hidden if one in text]
