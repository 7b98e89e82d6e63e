import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from subscriptions import encryption
from tests.conftest import Configure

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))


def test_what_is_encrypted_opens_again_and_does_not_show(configure: Configure) -> None:
    configure(ENCRYPTION_KEYS=[NEW])
    ciphertext = encryption.encrypt("whsec_secret")
    assert "secret" not in ciphertext
    assert encryption.decrypt(ciphertext) == "whsec_secret"


def test_every_key_of_the_ring_opens_and_the_first_one_encrypts(configure: Configure) -> None:
    configure(ENCRYPTION_KEYS=[OLD])
    ciphertext = encryption.encrypt("whsec_secret")
    configure(ENCRYPTION_KEYS=[NEW, OLD])
    assert encryption.decrypt(ciphertext) == "whsec_secret"
    again = encryption.reencrypt(ciphertext)
    configure(ENCRYPTION_KEYS=[NEW])
    assert encryption.decrypt(again) == "whsec_secret"


@pytest.mark.parametrize("operation", [encryption.decrypt, encryption.reencrypt])
def test_without_its_key_a_secret_stays_shut(configure: Configure, operation: object) -> None:
    configure(ENCRYPTION_KEYS=[OLD])
    ciphertext = encryption.encrypt("whsec_secret")
    configure(ENCRYPTION_KEYS=[OTHER])
    with pytest.raises(encryption.NotDecryptable, match="put the key that encrypted it back"):
        operation(ciphertext)  # type: ignore[operator]


@pytest.mark.parametrize("keys", [[], ["too short"]])
def test_a_ring_without_a_proper_key_says_how_to_make_one(
    configure: Configure, keys: list[str]
) -> None:
    configure(ENCRYPTION_KEYS=keys)
    with pytest.raises(ImproperlyConfigured, match=r"Fernet\.generate_key"):
        encryption.encrypt("whsec_secret")
