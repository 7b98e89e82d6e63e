"""The Celery application: Angarium's tasks on Redis."""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging, task_prerun
from django.db import connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# Celery's command takes BROKER_URL as it stands, over the settings that were made of it.
if os.environ.get("CELERY_BROKER_URL") == os.environ.get("BROKER_URL"):
    os.environ.pop("CELERY_BROKER_URL", None)

app = Celery("angarium")
app.config_from_object("django.conf:settings", namespace="CELERY")
# Celery's Django fix-up closes the database connection around every task; reconnecting costs more
# than a delivery's own queries. Connections are kept, and `drop_broken_connections` minds them.
app.conf["CELERY_DB_REUSE_MAX"] = 2**62
app.autodiscover_tasks()


@task_prerun.connect
def drop_broken_connections(**_: Any) -> None:
    """Let a task that follows a database restart begin on a fresh connection."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


@setup_logging.connect
def leave_logging_to_django(**_: Any) -> None:
    """Where somebody listens to this, Celery sets up no logging of its own."""
