"""The queue, looked at once a minute, so that it can be seen how it has been."""

from datetime import timedelta

from deliveries import bell
from deliveries.models import QueueSample
from deliveries.status import status

KEPT = timedelta(days=8)
"""For longer than the dashboard looks back."""


def sample_queue() -> None:
    """Write down how it is with the queue, once in a minute however often it is asked for."""
    found = status()
    sample = QueueSample(
        minute=found.at.replace(second=0, microsecond=0),
        messages=bell.waiting(),
        pending=found.deliveries["pending"].count,
        overdue=found.overdue,
    )
    QueueSample.objects.bulk_create([sample], ignore_conflicts=True)
