"""A Celery application whose one task notes, in a file, that it ran."""

import os
import time

from celery import Celery

PREFIX = "noting-"
QUEUE = "noted"

app = Celery("noting", broker=os.environ["REDIS_URL"], set_as_current=False)
app.conf.broker_transport = "config.broker:BulkTransport"
app.conf.broker_transport_options = {"global_keyprefix": PREFIX}
app.conf.broker_connection_retry_on_startup = True
app.conf.task_acks_late = True
app.conf.task_ignore_result = True
app.conf.task_default_queue = QUEUE
app.conf.worker_prefetch_multiplier = 50


@app.task(name="note")
def note(number: int) -> None:
    time.sleep(0.001)
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(f"{number}\n")
