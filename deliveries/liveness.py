"""Who is alive: workers, beat and the sweeps, as Celery's own signals tell.

All are seen in Redis, for /metrics. A worker and beat touch a file as well, where there is a
HEARTBEAT_DIRECTORY, for the health check of their container (see deliveries.alive).
"""

import os
import socket
from typing import Any

from celery import Task
from celery.signals import beat_init, before_task_publish, heartbeat_sent, task_success

from deliveries.alive import touch
from deliveries.conf import DeliverySettings
from deliveries.metrics.reporting import reporter
from deliveries.metrics.sweeps import SWEEP
from subscriptions.conf import part


def watch() -> None:
    """Listen to Celery's signals."""
    heartbeat_sent.connect(worker_lives)
    beat_init.connect(beat_begins)
    task_success.connect(sweep_ran)


def worker_lives(sender: Any, **_: Any) -> None:
    """Its event loop, or timer, gets to its turn: Celery sends this every two seconds."""
    _saw("worker", sender.eventer.hostname)


def beat_begins(**_: Any) -> None:
    before_task_publish.connect(beat_lives)
    beat_lives()


def beat_lives(**_: Any) -> None:
    """It sends the sweeps, of which there is one every few seconds."""
    _saw("beat", f"{socket.gethostname()}:{os.getpid()}")


def sweep_ran(sender: "Task[Any, Any]", **_: Any) -> None:
    if sender.name.startswith(SWEEP):
        reporter.saw(f"sweep:{sender.name.removeprefix(SWEEP)}")


def _saw(kind: str, name: str) -> None:
    reporter.saw(f"{kind}:{name}")
    if directory := part(DeliverySettings).heartbeat_directory:
        touch(directory, kind)
