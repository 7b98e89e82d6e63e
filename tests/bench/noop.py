"""What everything is measured against: stock Celery with a task that does nothing."""

import os

from celery import Celery

app = Celery("noop", broker=os.environ.get("REDIS_URL"), set_as_current=False)
app.conf.task_acks_late = True
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True
app.conf.task_default_queue = "noop"


@app.task(name="noop")
def noop(argument: str) -> None:
    """Take a delivery's id, as `deliver` does, and do nothing."""
