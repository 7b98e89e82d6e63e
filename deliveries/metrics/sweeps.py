"""How far the sweeps lag behind their schedules."""

from collections.abc import Mapping
from datetime import timedelta

from django.utils import timezone
from django_celery_beat.models import PeriodicTask

SWEEP = "deliveries.sweep_"
"""How the names of the sweeps' tasks begin."""


def sweeps_lag(since_they_ran: Mapping[str, float]) -> dict[str, float]:
    """How many seconds each sweep that is scheduled is overdue, by its task's name without SWEEP.

    `since_they_ran` has how long ago each of them ran. One that is not in it ran, as far as anybody
    knows, when beat last sent it, or else began when it was scheduled. Raises django.db.Error.
    """
    now = timezone.now()
    tasks = PeriodicTask.objects.filter(enabled=True, task__startswith=SWEEP)
    lags = {}
    for task in tasks.select_related("interval", "crontab", "solar", "clocked"):
        sweep = task.task.removeprefix(SWEEP)
        ran = task.last_run_at or task.date_changed
        if sweep in since_they_ran:
            ran = now - timedelta(seconds=since_they_ran[sweep])
        due_in: timedelta = task.schedule.remaining_estimate(ran)
        lags[sweep] = max(0.0, -due_in.total_seconds())
    return lags
