"""Redis for those who cannot wait for it: what is kept there is of use, and never needed."""

import logging
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)


class QuickRedis:
    """A client that answers within `patience` seconds or so, and stays quiet after a failure.

    `quiet_for` is in seconds: for so long Redis is not asked again, lest everybody pay for its
    outage. `without` says for the log what becomes of things meanwhile.
    """

    def __init__(self, url: str, *, patience: float, quiet_for: float, without: str) -> None:
        self.client = Redis.from_url(
            url,
            socket_timeout=patience,
            socket_connect_timeout=patience,
            retry=Retry(NoBackoff(), 0),
        )
        self._quiet_for = quiet_for
        self._without = without
        self._quiet_until = 0.0

    def ask(self, question: Callable[[], Answer]) -> Answer | None:
        """What `question`, put to the client, brings back; None while Redis does not answer."""
        if monotonic() < self._quiet_until:
            return None
        try:
            return question()
        except RedisError as error:
            self._quiet_until = monotonic() + self._quiet_for
            logger.warning("Redis is away (%s): %s", error, self._without)
            return None
