"""How the queue was in each part of a period, by the samples that a sweep takes every minute."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import DateTimeField, F, Func, Max, Value

from deliveries.dashboard.periods import Span
from deliveries.models import QueueSample


@dataclass(frozen=True, slots=True)
class Queue:
    """The most that a sample of the time has; None where there is none."""

    messages: int | None = None
    """On the broker."""
    pending: int | None = None
    overdue: float | None = None
    """Milliseconds since the first delivery was to be sent."""


def queue(parts: Sequence[Span]) -> list[Queue]:
    """One for each part. They are of one length."""
    part = Func(
        *(Value(parts[0].length), F("minute"), Value(parts[0].start)),
        function="date_bin",
        output_field=DateTimeField(),
    )
    samples = (
        QueueSample.objects.filter(minute__gte=parts[0].start, minute__lt=parts[-1].end)
        .values(part=part)
        .annotate(*map(Max, ("messages", "pending")), late=Max("overdue") * 1_000)
        .values_list("part", "messages__max", "pending__max", "late")
    )
    found = {begin: Queue(*most) for begin, *most in samples}
    return [found.get(part.start, Queue()) for part in parts]
