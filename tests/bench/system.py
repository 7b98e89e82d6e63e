"""The servers that are measured, and the settings that all measured processes have."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_urlsafe

from cryptography.fernet import Fernet

from config.embedded import servers


@contextmanager
def system() -> Iterator[Path]:
    """Run the servers, and set Django up to use them; gives a directory for logs.

    Only then can anything be imported that needs Django's settings.
    """
    with servers() as addresses, tempfile.TemporaryDirectory(prefix="angarium-") as directory:
        os.environ.update(
            addresses,
            DEBUG="0",
            BEHIND_TLS="0",
            LOG_LEVEL="WARNING",
            DJANGO_SETTINGS_MODULE="config.settings",
            SECRET_KEY=token_urlsafe(50),
            ENCRYPTION_KEYS=Fernet.generate_key().decode(),
            ANGARIUM_ALLOW_HTTP="1",
            ANGARIUM_ALLOWED_NETWORKS="127.0.0.0/8",
            # One receiver stands for many endpoints.
            ANGARIUM_ENDPOINT_MAX_IN_FLIGHT="1000",
        )
        import django

        django.setup()
        yield Path(directory)
