import io

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from subscriptions import encryption
from subscriptions.credentials import parse_credentials
from subscriptions.management.commands import rotate_encryption_keys
from subscriptions.models import Endpoint, SigningSecret
from tests.conftest import Configure, MakeEndpoint
from webhooks.keys import Kind

pytestmark = pytest.mark.django_db

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def rotate() -> str:
    told = io.StringIO()
    call_command("rotate_encryption_keys", stdout=told)
    return told.getvalue()


def plaintexts() -> dict[str, str]:
    return {one.pk: encryption.decrypt(one.ciphertext) for one in SigningSecret.objects.all()}


def test_every_secret_comes_under_the_newest_key(
    make_endpoint: MakeEndpoint, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotate_encryption_keys, "CHUNK", 2)
    configure(ENCRYPTION_KEYS=[OLD])
    for _ in range(5):
        make_endpoint()
    SigningSecret.objects.issue(Endpoint.objects.all()[0], kind=Kind.ED25519)
    before = plaintexts()
    configure(ENCRYPTION_KEYS=[NEW, OLD])
    assert rotate() == "6 secrets are encrypted under the newest key.\n"
    configure(ENCRYPTION_KEYS=[NEW])
    assert plaintexts() == before


def test_so_do_custom_headers_and_authentications(
    make_endpoint: MakeEndpoint, configure: Configure
) -> None:
    configure(ENCRYPTION_KEYS=[OLD])
    plain, endpoint = make_endpoint(), make_endpoint()
    endpoint.set_credentials(headers={"x-tenant": "isfahan"})
    endpoint.save()
    configure(ENCRYPTION_KEYS=[NEW, OLD])
    assert rotate() == "3 secrets are encrypted under the newest key.\n"
    configure(ENCRYPTION_KEYS=[NEW])
    endpoint.refresh_from_db()
    plain.refresh_from_db()
    assert parse_credentials(encryption.decrypt(endpoint.credentials or "")).headers == {
        "x-tenant": "isfahan"
    }
    assert plain.credentials is None


def test_a_secret_that_no_key_opens_stops_it_and_nothing_is_lost(
    make_endpoint: MakeEndpoint, configure: Configure
) -> None:
    configure(ENCRYPTION_KEYS=[OLD])
    make_endpoint()
    kept = SigningSecret.objects.get().ciphertext
    configure(ENCRYPTION_KEYS=[NEW])
    with pytest.raises(CommandError, match="put the key that encrypted it back"):
        rotate()
    assert SigningSecret.objects.get().ciphertext == kept
