"""Redis for those who cannot wait for it: what is kept there is of use, and never needed."""

import logging
from collections.abc import Callable
from functools import cache
from time import monotonic
from typing import Any, ClassVar, Self, TypeVar

from redis import RedisError

from subscriptions.conf import SubscriptionSettings, part
from subscriptions.redis_address import RedisAddress

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)


class QuickRedis:
    """What is kept in one Redis, which answers quickly or is not asked for a while."""

    patience: ClassVar[float] = 0.1
    """Seconds that whoever asks waits for Redis, to connect and to answer."""
    quiet_for: ClassVar[float] = 5.0
    """Seconds after a failure in which nobody asks, lest everybody pay for the outage."""
    without: ClassVar[str]
    """For the log: what becomes of things meanwhile."""

    def __init__(self, url: str) -> None:
        self.client = RedisAddress.parse(url).client(patience=self.patience)
        self._quiet_until = 0.0

    @classmethod
    def here(cls) -> Self:
        """The process' own, in the Redis of the settings."""
        kind: Any = cls
        one: Self = _at(kind, part(SubscriptionSettings).redis_url)
        return one

    def ask(self, question: Callable[[], Answer]) -> Answer | None:
        """What `question`, put to the client, brings back; None while Redis does not answer."""
        if monotonic() < self._quiet_until:
            return None
        try:
            return question()
        except RedisError as error:
            self._quiet_until = monotonic() + self.quiet_for
            logger.warning("Redis is away (%s): %s", error, self.without)
            return None


@cache
def _at(kind: Any, url: str) -> Any:
    return kind(url)
