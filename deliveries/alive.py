"""Is the worker, or beat, of this container alive? `python -m deliveries.alive worker`

Exit code 0 if it touched its file within a minute, 1 if it did not. While its broker is away it
waits for that and touches nothing: it is not dead then, and to restart it would help nobody. So
where the file is old, the broker is asked. Needs neither Django nor the database.
"""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from kombu import Connection
from kombu.exceptions import OperationalError
from redis import RedisError

from subscriptions import amqp_address
from subscriptions.amqp_address import AmqpAddress
from subscriptions.redis_address import RedisAddress
from subscriptions.server_url import InvalidServerUrl

PATIENCE = 60.0
"""Seconds since the last sign of life: a long sweep may hold a worker up for some of them."""

BROKER_PATIENCE = 2.0
"""Seconds that the broker has to answer."""

VARIABLE = "ANGARIUM_HEARTBEAT_DIRECTORY"
BROKER_VARIABLES = ("BROKER_URL", "REDIS_URL")
"""The first that is set says where the broker is."""


def touch(directory: str, kind: str) -> None:
    """Give a sign of life. A directory that is missing or full is no reason to end."""
    with suppress(OSError):
        Path(directory, kind).touch()


def silence(directory: str, kind: str) -> float:
    """How many seconds ago the last sign of life was; infinite, if there was none."""
    try:
        return time.time() - Path(directory, kind).stat().st_mtime
    except OSError:
        return float("inf")


def broker_is_away() -> bool:
    """Whether there is a broker, as far as the environment says, that does not answer."""
    url = next(filter(None, map(os.environ.get, BROKER_VARIABLES)), "")
    try:
        if url.partition("://")[0] in amqp_address.SCHEMES:
            rabbit = AmqpAddress.parse(url)
            with Connection(rabbit.url, ssl=rabbit.tls, connect_timeout=BROKER_PATIENCE) as broker:
                broker.connect()
        elif url:
            RedisAddress.parse(url).client(patience=BROKER_PATIENCE).ping()
    except InvalidServerUrl:
        return False
    except (RedisError, OSError, OperationalError):
        return True
    return False


def main(kind: str) -> str | None:
    """What is wrong, if something is."""
    directory = os.environ.get(VARIABLE)
    if not directory:
        return f"Set {VARIABLE} to the directory that the {kind} has it set to."
    seconds = silence(directory, kind)
    if seconds < PATIENCE or broker_is_away():
        return None
    return f"The {kind} gave no sign of life for {seconds:.0f} s."


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
