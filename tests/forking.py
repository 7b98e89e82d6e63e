"""Forks what tests start off a process that has imported already what all of it imports.

Most of a worker's start is the import of packages: that is done once for each run of the tests.
From there on it is a process as any other, with an environment, a log and a group of its own.
"""

import atexit
import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(
    [
        # None of our own, and none that needs settings when it is imported.
        "celery.bin.celery",
        "celery.concurrency.prefork",
        "celery.concurrency.thread",
        "celery.beat",
        "cryptography.hazmat.primitives.asymmetric.ed25519",
        "cryptography.fernet",
        "cryptography.x509",
        "django.contrib.admin",
        "django.contrib.postgres.fields",
        "django.core.management",
        "django.db.backends.postgresql.base",
        "django.db.models",
        "django.test",
        "jinja2",
        "jsonschema",
        "opentelemetry.sdk.trace",
        "prometheus_client",
        "psycopg",
        "pycurl",
        "redis",
        "requests",
        "structlog",
    ]
)


def start(
    module: str, *arguments: str, environment: Mapping[str, str], log: Path
) -> ForkServerProcess:
    """Run `python -m module arguments`, with what it says in `log`; it leads a group of its own."""
    log.touch()
    process = FORKING.Process(target=become, args=(module, arguments, dict(environment), log))
    process.start()
    return process


def become(module: str, arguments: Sequence[str], environment: dict[str, str], log: Path) -> None:
    os.setsid()
    with log.open("ab") as output:
        os.dup2(output.fileno(), sys.stdout.fileno())
        os.dup2(output.fileno(), sys.stderr.fileno())
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # a forked process of multiprocessing ends without them
