"""A Celery application whose one task notes on the broker that it ran."""

import os
from functools import cache

import redis
from celery import Celery

URL = os.environ["REDIS_URL"]
PREFIX = "noting-"
NOTES = f"{PREFIX}notes"
QUEUE = "noted"

app = Celery("noting", broker=URL, set_as_current=False)
app.conf.broker_transport = "config.broker:BulkTransport"
app.conf.broker_transport_options = {"global_keyprefix": PREFIX}
app.conf.broker_connection_retry_on_startup = True
app.conf.task_acks_late = True
app.conf.task_ignore_result = True
app.conf.task_default_queue = QUEUE
app.conf.worker_prefetch_multiplier = 50


@cache
def client() -> "redis.Redis[bytes]":
    return redis.Redis.from_url(URL)


@app.task(name="note")
def note(number: int) -> None:
    client().rpush(NOTES, number)
