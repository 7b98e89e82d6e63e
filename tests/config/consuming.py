"""Queues of a test's own on the real broker, and consumers of them in an event loop."""

import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from threading import Event, Timer
from time import monotonic
from typing import Any

import redis
from kombu import Connection, Consumer, Exchange, Queue
from kombu.asynchronous import Hub
from kombu.message import Message

STOCK = "redis"
BULK = "config.broker:BulkTransport"
PATIENCE = 20.0


@dataclass(frozen=True)
class Broker:
    """The broker at `url`, seen through keys that all begin with `prefix`."""

    url: str
    prefix: str

    @property
    def redis(self) -> Any:
        return redis.Redis.from_url(self.url)

    def connection(self, transport: str = BULK, **options: Any) -> Connection:
        options = {"global_keyprefix": self.prefix, "polling_interval": 0.1, **options}
        return Connection(self.url, transport=transport, transport_options=options)

    def publish(
        self, bodies: Iterable[Any], queue: str = "a", transport: str = STOCK, **options: Any
    ) -> None:
        with self.connection(transport) as connection, connection.Producer() as producer:
            for body in bodies:
                producer.publish(body, **address(queue), **options)

    def waiting(self, queue: str = "a") -> list[Any]:
        """The bodies in a queue's first priority, the next to be taken first."""
        return [_body(json.loads(text)) for text in self.redis.lrange(self.key(queue), 0, -1)][::-1]

    def unacknowledged(self) -> list[Any]:
        """The bodies that consumers hold, by any tag."""
        held = self.redis.hgetall(self.key("unacked"))
        indexed = self.redis.zrange(self.key("unacked_index"), 0, -1)
        assert set(held) == set(indexed)
        return sorted(_body(json.loads(text)[0]) for text in held.values())

    def key(self, name: str) -> str:
        return f"{self.prefix}{name}"

    def calls(self, command: str) -> int:
        """How often clients and scripts have called a command."""
        statistics = self.redis.info("commandstats")
        return int(statistics.get(f"cmdstat_{command}", {"calls": 0})["calls"])

    def clear(self) -> None:
        for key in self.redis.scan_iter(f"{self.prefix}*"):
            self.redis.delete(key)


class Listener:
    """A consumer in an event loop of its own, as a Celery worker's is, that keeps what it gets."""

    def __init__(
        self,
        broker: Broker,
        *queues: str,
        transport: str = BULK,
        prefetch: int = 0,
        on_message: Callable[[Message], None] | None = None,
        no_ack: bool = False,
        **options: Any,
    ) -> None:
        self.messages: list[Message] = []
        self.hub = Hub()
        self.connection = broker.connection(transport, **options)
        self.connection.connect()
        self.connection.transport.register_with_event_loop(self.connection.connection, self.hub)
        self.channel: Any = self.connection.default_channel
        self.consumer = Consumer(
            self.channel,
            [a_queue(queue) for queue in queues or ("a",)],
            on_message=partial(self._keep, on_message),
            no_ack=no_ack,
            prefetch_count=prefetch,
        )
        self.consumer.consume()

    def _keep(self, on_message: Callable[[Message], None] | None, message: Message) -> None:
        self.messages.append(message)
        if on_message is not None:
            on_message(message)

    @property
    def bodies(self) -> list[Any]:
        return [message.payload for message in self.messages]

    def run_until(self, holds: Callable[[], object]) -> None:
        deadline = monotonic() + PATIENCE
        while not holds():
            assert monotonic() < deadline, f"still not so, after {len(self.messages)} messages"
            self.hub.run_once()

    def listen(self, count: int) -> list[Any]:
        """Run until there are `count` messages in all; give their bodies."""
        self.run_until(lambda: len(self.messages) >= count)
        return self.bodies

    def run_on(self) -> None:
        """Let the loop turn for long enough that whatever is on its way arrives."""
        enough = Event()
        # From another thread `call_soon` wakes the loop; its turn ends when it is woken again.
        for delay in (0.1, 0.12):
            Timer(delay, self.hub.call_soon, [enough.set]).start()
        self.run_until(enough.is_set)

    def ack_all(self) -> None:
        for message in self.messages:
            if not message.acknowledged:
                message.ack()

    def close(self) -> None:
        self.connection.release()
        self.hub.close()


def acknowledge(message: Message) -> None:
    message.ack()


def address(queue: str) -> dict[str, Any]:
    declared = a_queue(queue)
    return {"exchange": declared.exchange, "routing_key": queue, "declare": [declared]}


def a_queue(name: str) -> Queue:
    return Queue(name, Exchange(name, type="direct"), routing_key=name)


def _body(message: dict[str, Any]) -> Any:
    return json.loads(base64.b64decode(message["body"]))
