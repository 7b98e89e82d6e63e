"""A pytest plugin: a real PostgreSQL and a real Valkey, there before Django reads its settings."""

import os
from contextlib import ExitStack

import pytest
from cryptography.fernet import Fernet

from config.embedded import servers

running = ExitStack()

ENVIRONMENT = {
    "DEBUG": "0",
    "BEHIND_TLS": "0",
    "SECRET_KEY": "only-for-the-tests-" + "x" * 40,
    "ALLOWED_HOSTS": "testserver,127.0.0.1",
    "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "ANGARIUM_ALLOW_HTTP": "1",
    "ANGARIUM_ALLOWED_NETWORKS": "127.0.0.0/8",
}


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    os.environ.update(ENVIRONMENT)
    os.environ.update(running.enter_context(servers()))


def pytest_unconfigure() -> None:
    running.close()
