"""Signing secrets from end to end: receivers that know one of them, and where none may appear."""

import json
from pathlib import Path

import pytest

from deliveries.emit import emit
from deliveries.models import Attempt, Delivery
from subscriptions import encryption
from subscriptions.models import Endpoint, SigningSecret
from tests import processes
from tests.conftest import MakeEndpoint
from tests.processes import Process, wait_until
from tests.receiver import Received, Receiver
from webhooks import signing
from webhooks.keys import Kind

pytestmark = pytest.mark.django_db(transaction=True)

PAYLOAD = "a customer of ours"


def known_to_receiver(secret: SigningSecret) -> str:
    return secret.public_key or encryption.decrypt(secret.ciphertext)


def arrives(endpoint: Endpoint, receiver: Receiver) -> Received:
    before = len(receiver.received)
    emit("invoice.paid", {"amount": 100})
    return receiver.wait_for(before + 1)[-1]


def is_verified_by(request: Received, secret: SigningSecret) -> bool:
    try:
        signing.verify(request.headers, request.body, known_to_receiver(secret))
    except signing.SignatureMismatch:
        return False
    return True


@pytest.mark.parametrize("old_kind", Kind)
@pytest.mark.parametrize("new_kind", Kind)
def test_during_a_rotation_the_old_secret_verifies_and_so_does_the_new_one(
    worker: Process,
    make_endpoint: MakeEndpoint,
    receiver: Receiver,
    old_kind: Kind,
    new_kind: Kind,
) -> None:
    endpoint = make_endpoint(url=receiver.url())
    old = SigningSecret.objects.issue(endpoint, kind=old_kind)
    SigningSecret.objects.expire_replaced(endpoint)
    request = arrives(endpoint, receiver)
    assert is_verified_by(request, old)

    new = SigningSecret.objects.issue(endpoint, kind=new_kind)
    request = arrives(endpoint, receiver)
    assert len(request.headers["webhook-signature"].split()) == 2
    assert is_verified_by(request, old)
    assert is_verified_by(request, new)

    SigningSecret.objects.expire_replaced(endpoint)
    request = arrives(endpoint, receiver)
    assert not is_verified_by(request, old)
    assert is_verified_by(request, new)


@pytest.mark.parametrize("log_format", ["json", "line"])
def test_no_secret_is_in_a_worker_s_log_or_in_what_is_on_record(
    lane: str, log_format: str, make_endpoint: MakeEndpoint, receiver: Receiver, tmp_path: Path
) -> None:
    reached = make_endpoint(url=receiver.url())
    SigningSecret.objects.issue(reached, kind=Kind.ED25519)
    make_endpoint(url="http://127.0.0.1:9/refused")
    broken = make_endpoint(url=receiver.url("/broken"))
    broken.signing_secrets.update(ciphertext="not to be decrypted")
    secrets = SigningSecret.objects.exclude(endpoint=broken)
    hidden = [encryption.decrypt(secret.ciphertext) for secret in secrets]
    hidden += [secret.ciphertext for secret in SigningSecret.objects.all()]
    assert len(hidden) == 7

    logs = {"LOG_LEVEL": "DEBUG", "LOG_FORMAT": log_format}
    with processes.worker(tmp_path / "worker.log", LANE=lane, **logs) as worker:
        emit("invoice.paid", {"name": PAYLOAD})
        receiver.wait_for(1)
        wait_until(lambda: not Delivery.objects.filter(ended_at=None).exists(), "the record")
    log = worker.text()
    assert ("DEBUG" if log_format == "line" else '"level": "debug"') in log
    assert PAYLOAD not in log
    kept = json.dumps(list(Attempt.objects.values("error", "response_body")))
    assert "ENCRYPTION_KEYS" in kept
    for text in (log, kept):
        assert not [one for one in hidden if one in text]
