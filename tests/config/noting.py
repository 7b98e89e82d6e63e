"""A Celery application whose one task notes on the broker that it ran."""

import os

import redis
from celery import Celery

URL = os.environ["REDIS_URL"]
NOTES = "noting.notes"
QUEUE = "noting"

app = Celery("noting", broker=URL, set_as_current=False)
app.conf.broker_transport = os.environ.get("NOTING_TRANSPORT", "config.broker:BulkTransport")
app.conf.broker_connection_retry_on_startup = True
app.conf.task_acks_late = True
app.conf.task_ignore_result = True
app.conf.task_default_queue = QUEUE
app.conf.worker_prefetch_multiplier = 50


@app.task(name="note")
def note(number: int) -> None:
    redis.Redis.from_url(URL).rpush(NOTES, number)
