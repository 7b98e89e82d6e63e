"""The courier as a Celery pool: `worker_pool = "deliveries.courier.pool:CourierPool"`.

`deliver` and `handshake` tasks become streams on the consumer's event loop; any other task runs at
once, as in the solo pool. To Celery each is an ordinary task: it accepts, revokes, waits for its
ETA, and is told of its end by Celery's own callback, which acknowledges the message.
"""

import gc
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from celery.concurrency.solo import TaskPool
from celery.exceptions import WorkerShutdown, WorkerTerminate
from celery.worker.state import maybe_shutdown
from kombu.asynchronous import Hub
from kombu.utils.json import loads

from deliveries import bell
from deliveries.bell import DELIVER, HANDSHAKE
from deliveries.conf import DeliverySettings
from deliveries.courier.courier import Courier, statistics
from deliveries.handshakes import shake
from subscriptions.conf import SubscriptionSettings, part
from subscriptions.ids import to_uuid
from webhooks.sending.curl_sender import CurlSender

Callback = Callable[..., None]
Stream = Callable[[Callable[[], None]], None]
"""Begins what a task is about; what it is given is called at the end."""

OUTAGE_CHECK = 1.0
"""Seconds after which the courier looks whether the lost broker is back."""


class CourierPool(TaskPool):
    """At most `limit` deliveries (the worker's --concurrency) in flight in this one process."""

    def __init__(self, limit: int | None = None, **options: Any) -> None:
        super().__init__(limit, **options)
        self.limit = limit or 1
        self.courier: Courier | None = None

    def register_with_event_loop(self, loop: Hub) -> None:
        """Called whenever the consumer's loop starts: at first, and after the broker was lost."""
        if self.courier is None:
            settings = part(DeliverySettings)
            network = part(SubscriptionSettings)
            sender = CurlSender(
                policy=network.address_policy(),
                proxy=network.proxy(),
                limits=settings.limits(),
                user_agent=settings.user_agent,
                ca_bundle=settings.ca_bundle or None,
                loop=loop,
            )
            self.courier = Courier(loop, sender, limit=self.limit)
            # What is loaded by now stays: without this, the garbage collector looks through all of
            # it now and then, for some 60 ms in which nothing is delivered.
            gc.collect()
            gc.freeze()
        else:
            self.courier.resume()

    def apply_async(
        self,
        target: Callback,
        args: Any = None,
        kwargs: Any = None,
        callback: Callback | None = None,
        accept_callback: Callback | None = None,
        **options: Any,
    ) -> Any:
        stream = _stream(args, self.courier) if self.courier else None
        if stream is None or callback is None:
            return super().apply_async(
                target, args, kwargs, callback=callback, accept_callback=accept_callback, **options
            )
        began = time.monotonic()
        if accept_callback is not None:
            accept_callback(os.getpid(), began)

        def done() -> None:
            callback((0, None, time.monotonic() - began))

        stream(done)
        return None

    def flush(self) -> None:
        """Called when the broker is lost: what is in flight does not wait until it is back.

        Celery would sleep between its attempts to connect, for longer than a lease in the end.
        """
        courier = self.courier
        while courier and courier.claimed and not _is_to_end() and not bell.is_answered():
            courier.carry_on(until=time.monotonic() + OUTAGE_CHECK)

    def on_stop(self) -> None:
        if self.courier is not None:
            self.courier.drain(until=time.monotonic() + part(DeliverySettings).courier_grace)

    def _get_info(self) -> dict[str, Any]:
        info: dict[str, Any] = super()._get_info()  # type: ignore[misc]
        info["max-concurrency"] = self.limit
        if self.courier is not None:
            info["courier"] = statistics(self.courier)
        return info


def _is_to_end() -> bool:
    """Whether the worker has been told to: then what is in flight is for `on_stop` to see to."""
    try:
        maybe_shutdown()
    except (WorkerShutdown, WorkerTerminate):
        return True
    return False


def _stream(args: Any, courier: Courier) -> Stream | None:
    """What a task is to begin; None where it is another, or makes no sense."""
    if not args or args[0] not in (DELIVER, HANDSHAKE):
        return None
    body = args[3]
    try:
        [positional, *_] = loads(body) if isinstance(body, bytes | str | memoryview) else body
        [subject] = positional
        row = to_uuid(subject)
    except (TypeError, ValueError):
        return None  # the task itself, run the usual way, says what is wrong
    if args[0] == DELIVER:
        return partial(courier.submit, row)
    return partial(shake, subject, courier.sender.start)
