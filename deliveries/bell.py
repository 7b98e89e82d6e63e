"""The doorbell: tell the workers, by way of the broker, that deliveries are there.

The rows are the truth; a message only says whose turn it is. One that cannot be published, or gets
lost, is made good by the sweeps, so ringing never fails and never takes long.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property
from math import ceil
from time import monotonic
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

from celery import Celery
from celery.app import app_or_default
from celery.utils.quorum_queues import detect_quorum_queues
from kombu.pools import producers
from kombu.transport.native_delayed_delivery import MAX_LEVEL, calculate_routing_key, level_name

from deliveries.conf import DeliverySettings
from subscriptions.conf import part
from subscriptions.ids import from_uuid

DELIVER = "deliveries.deliver"
FAN_OUT = "deliveries.fan_out"
FORM_BATCHES = "deliveries.form_batches"
HANDSHAKE = "deliveries.handshake"
REPLAY = "deliveries.replay"
QUEUE = "deliveries"

RETRY_PRIORITY = 9
"""The last in kombu's order for Redis: what still waits is taken when nothing else is there.

Taken sooner, it would cost the worker time and memory before its countdown is over. One that is
passed over for too long is rung for again by the sweep, like any other. (In RabbitMQ 9 would be the
first; there what waits is in no worker's queue.)
"""

# Whoever emits waits for the broker at most this long, in seconds, …
PATIENCE = 0.3
# … and after a failure nobody tries for a while, lest every request pay for the outage.
QUIET_AFTER_FAILURE = 2.0

logger = logging.getLogger(__name__)


class Bell:
    """Publishes in pipelined batches over a connection of its own that gives up quickly."""

    def __init__(self, app: Celery, url: str | None = None) -> None:
        self.app = app
        self.quiet_until = 0.0
        self.connection = app.connection_for_write(
            url,
            connect_timeout=PATIENCE,
            transport_options={
                **app.conf.broker_transport_options,
                "socket_timeout": PATIENCE,
                "socket_connect_timeout": PATIENCE,
                "read_timeout": PATIENCE,
                "write_timeout": PATIENCE,
                "retry_on_timeout": False,
                "max_retries": 0,
            },
        )

    def waiting(self, queue: str) -> int | None:
        """How many messages wait in a queue; None while the broker cannot be asked."""
        try:
            with producers[self.connection].acquire(block=True, timeout=PATIENCE) as producer:
                declared = producer.channel.queue_declare(
                    queue,
                    durable=True,
                    auto_delete=False,
                    arguments=self.app.amqp.queues[queue].queue_arguments,
                )
                return int(declared.message_count)
        except Exception as error:
            logger.warning("The broker does not say how long %s is (%s).", queue, error)
            return None

    def is_answered(self) -> bool:
        """Whether the broker takes a new connection just now: an old one may outlive its loss."""
        try:
            with self.connection.clone() as connection:
                connection.connect()
        except Exception as error:
            logger.warning("The broker cannot be reached (%s).", error)
            return False
        return True

    def publish(self, task: str, messages: Sequence[tuple[str, float | None]]) -> None:
        """Send one message of `task` for each argument and countdown, if the broker takes them."""
        if not messages or monotonic() < self.quiet_until:
            return
        try:
            pool = producers[self.connection]
            with pool.acquire(block=True, timeout=PATIENCE) as producer, producer.batch():
                queue = self.app.amqp.router.route({}, task)["queue"]
                producer.maybe_declare(queue)
                for argument, countdown in messages:
                    self._send(producer, queue.name, task, argument, countdown)
        except Exception as error:
            self.quiet_until = monotonic() + QUIET_AFTER_FAILURE
            logger.warning("The broker took no message (%s); the sweeps will send it.", error)

    def _send(
        self, producer: Any, queue: str, task: str, argument: str, countdown: float | None
    ) -> None:
        # What Celery's send_task does besides (signals, a repr of the arguments, declaring the
        # queue for each message) takes four times as long as this.
        message = self.app.amqp.as_task_v2(
            str(uuid4()),
            task,
            (argument,),
            {},
            countdown=countdown,
            argsrepr=f"({argument!r},)",
            kwargsrepr="{}",
            ignore_result=True,
        )
        producer.publish(
            message.body,
            serializer="json",
            headers=message.headers,
            **self._way(queue, countdown),
            **message.properties,
        )

    def _way(self, queue: str, countdown: float | None) -> dict[str, Any]:
        """The way of a message to its queue, on which a countdown holds nobody up."""
        if countdown is None:
            return {"exchange": "", "routing_key": queue}
        if not self.keeps_what_waits:
            return {"exchange": "", "routing_key": queue, "priority": RETRY_PRIORITY}
        # Through queues whose messages expire, which Celery's workers declare when they start.
        seconds = max(1, int(self.countdown(countdown)))
        return {
            "exchange": level_name(MAX_LEVEL),
            "routing_key": calculate_routing_key(seconds, queue),
        }

    def countdown(self, seconds: float) -> float:
        """The countdown after which a message is not too early: RabbitMQ keeps whole seconds."""
        return ceil(seconds) if self.keeps_what_waits else seconds

    @property
    def punctuality(self) -> float:
        """Seconds that messages may be apart from when they were to come."""
        return 1.0 if self.keeps_what_waits else 0.1

    @cached_property
    def keeps_what_waits(self) -> bool:
        """Whether the broker itself holds a message until its countdown ends, as RabbitMQ does."""
        quorum, _ = detect_quorum_queues(self.app, self.connection.transport.driver_type)
        return quorum


@cache
def _bell() -> Bell:
    return Bell(app_or_default())


def waiting(queue: str = QUEUE) -> int | None:
    """How many messages wait, for deliveries unless told; None while the broker cannot be asked."""
    return _bell().waiting(queue)


def queue_lengths() -> dict[str, int]:
    """How many messages wait in each queue of the broker that says so."""
    lengths = {name: waiting(name) for name in app_or_default().amqp.queues}
    return {name: length for name, length in lengths.items() if length is not None}


def is_answered() -> bool:
    """Whether the broker takes a new connection just now."""
    return _bell().is_answered()


def countdown(seconds: float) -> float:
    """The countdown after which a message is not too early."""
    return _bell().countdown(seconds)


def punctuality() -> float:
    """Seconds that messages may be apart from when they were to come."""
    return _bell().punctuality


def room() -> int:
    """How many deliveries may be rung for before the queue is at its limit."""
    messages = waiting()
    return 0 if messages is None else max(0, part(DeliverySettings).queue_limit - messages)


def ring(deliveries: Iterable[UUID]) -> None:
    """Ask the workers to deliver; returns within a second whatever the broker does."""
    _bell().publish(DELIVER, [(from_uuid("dlv", delivery), None) for delivery in deliveries])


def ring_later(deliveries: Mapping[UUID, float]) -> None:
    """Ask the workers to deliver, each after a countdown of so many seconds, if any."""
    _bell().publish(
        DELIVER,
        [(from_uuid("dlv", delivery), wait or None) for delivery, wait in deliveries.items()],
    )


def ring_for_fan_out(events: Iterable[str]) -> None:
    """Ask the workers to make the deliveries of these events."""
    _bell().publish(FAN_OUT, [(event, None) for event in events])


def ring_for_batches(
    endpoints: Iterable[UUID], later: Mapping[UUID, float] = MappingProxyType({})
) -> None:
    """Ask the workers to form these endpoints' batches; those of `later` after so many seconds."""
    messages: list[tuple[str, float | None]] = [(from_uuid("ep", one), None) for one in endpoints]
    messages += [(from_uuid("ep", endpoint), wait) for endpoint, wait in later.items()]
    _bell().publish(FORM_BATCHES, messages)


def ring_for_handshakes(endpoints: Iterable[str]) -> None:
    """Ask the workers to send these endpoints their challenges."""
    _bell().publish(HANDSHAKE, [(endpoint, None) for endpoint in endpoints])


def ring_for_replays(replays: Mapping[str, float]) -> None:
    """Ask the workers to go on with these replays, each after so many seconds, if any."""
    _bell().publish(REPLAY, [(replay, wait or None) for replay, wait in replays.items()])
