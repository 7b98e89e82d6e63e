"""How long the queue was, minute by minute."""

from django.db import models


class QueueSample(models.Model):
    """What there was to do at one time of a minute; a sweep writes it."""

    minute = models.DateTimeField(primary_key=True, help_text="Its begin.")
    messages = models.PositiveBigIntegerField(
        null=True, help_text="On the broker; empty if it did not answer."
    )
    pending = models.PositiveBigIntegerField()
    overdue = models.FloatField(help_text="Seconds since the first delivery was to be sent.")

    class Meta:
        default_permissions = ()
        ordering = ["minute"]

    def __str__(self) -> str:
        return f"{self.minute:%Y-%m-%d %H:%M}"
