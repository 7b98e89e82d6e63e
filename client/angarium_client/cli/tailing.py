"""Deliveries as they come and change: the newest are looked at again and again."""

import time
from collections.abc import Callable, Iterable, Iterator

from angarium_client.shapes import Delivery

LOOKED_AT = 200
"""So many of the newest deliveries are looked at each time: a page."""

REMEMBERED = 10 * LOOKED_AT


class News:
    """Tells which deliveries are new, or have changed, since it last saw them."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, int]] = {}

    def of(self, deliveries: Iterable[Delivery]) -> list[Delivery]:
        """Those of `deliveries` (newest first) that are news, oldest first."""
        news = []
        for delivery in deliveries:
            now = (delivery["state"], delivery["attempt_number"])
            if self._seen.get(delivery["id"]) != now:
                news.append(delivery)
                self._seen[delivery["id"]] = now
        while len(self._seen) > REMEMBERED:
            del self._seen[min(self._seen)]  # ids sort by time
        return news[::-1]


def follow(
    newest: Callable[[], Iterable[Delivery]],
    *,
    pause: float,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Delivery]:
    """Deliveries as they come and change, without end; what is there at first is no news."""
    news = News()
    news.of(newest())
    while True:
        sleep(pause)
        yield from news.of(newest())
