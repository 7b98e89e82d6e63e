"""A Valkey that a test may maltreat, in the place of the one that the suite shares."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from redis import Redis

from config.embedded import valkey
from tests.faults.network import Road


class Broker:
    """Behind a road, whose address is `url`."""

    def __init__(self) -> None:
        self.server = ExitStack()
        address = urlsplit(self.server.enter_context(valkey()))
        assert address.hostname
        assert address.port
        self.port = address.port
        self.road = Road(address.hostname, address.port)
        self.url = f"redis://127.0.0.1:{self.road.port}/0"

    def close(self) -> None:
        self.road.cut()
        self.server.close()

    def flush(self) -> None:
        with self._client() as client:
            client.flushall()

    def stop(self) -> None:
        self.server.close()

    def start_empty(self) -> None:
        self.server.enter_context(valkey(self.port))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It takes connections, and says nothing."""
        with self._client() as client:
            pid: int = client.info("server")["process_id"]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def _client(self) -> Redis:
        return Redis(port=self.port)
