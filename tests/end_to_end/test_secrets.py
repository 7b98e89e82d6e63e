"""Signing secrets from end to end: receivers that know one of them."""

import pytest

from deliveries.emit import emit
from subscriptions import encryption
from subscriptions.models import Endpoint, SigningSecret
from tests.conftest import MakeEndpoint
from tests.processes import Process
from tests.receiver import Received, Receiver
from webhooks import signing
from webhooks.keys import Kind

pytestmark = pytest.mark.django_db(transaction=True)


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
