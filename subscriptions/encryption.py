"""Encryption at rest: Fernet under a ring of keys, so that keys can be changed without a pause."""

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.core.exceptions import ImproperlyConfigured

from subscriptions.conf import SubscriptionSettings, part
from webhooks.confidential import Confidential


class NotDecryptable(Exception):
    """No key of ENCRYPTION_KEYS opens a stored secret."""

    def __init__(self) -> None:
        super().__init__(
            "No key of ANGARIUM['ENCRYPTION_KEYS'] opens this secret: "
            "put the key that encrypted it back into the list."
        )


def encrypt(plaintext: str) -> str:
    """Encrypt under the newest key."""
    return _ring(part(SubscriptionSettings).encryption_keys).encrypt(plaintext.encode()).decode()


def decrypt(ciphertext: str) -> Confidential:
    """Decrypt under whichever key fits. Raises NotDecryptable where none does."""
    return _decrypt(part(SubscriptionSettings).encryption_keys, ciphertext)


def reencrypt(ciphertext: str) -> str:
    """The same plaintext under the newest key. Raises NotDecryptable."""
    try:
        return _ring(part(SubscriptionSettings).encryption_keys).rotate(ciphertext).decode()
    except InvalidToken:
        raise NotDecryptable from None


# Every delivery needs its endpoint's secrets in the clear; decrypting costs more than signing.
@lru_cache(maxsize=10_000)
def _decrypt(keys: tuple[str, ...], ciphertext: str) -> Confidential:
    try:
        return Confidential(_ring(keys).decrypt(ciphertext).decode())
    except InvalidToken:
        raise NotDecryptable from None


@lru_cache(maxsize=8)
def _ring(keys: tuple[str, ...]) -> MultiFernet:
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError as error:
        raise ImproperlyConfigured(
            "ANGARIUM['ENCRYPTION_KEYS'] needs at least one key as Fernet.generate_key() makes it."
        ) from error
