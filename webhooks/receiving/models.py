"""Which messages have been received, so that none is handled twice."""

from datetime import timedelta

from django.db import models
from django.utils import timezone


class ReceivedMessageManager(models.Manager["ReceivedMessage"]):
    def forget(self, older_than: timedelta, *, at_most: int = 10_000) -> int:
        """Drop some old records; returns how many. Senders retry for days: keep weeks."""
        old = self.filter(received_at__lt=timezone.now() - older_than).order_by("received_at")
        dropped, _ = self.filter(pk__in=list(old.values_list("pk", flat=True)[:at_most])).delete()
        return dropped


class ReceivedMessage(models.Model):
    """A message that a handler has dealt with, by the webhook-id its sender gave it."""

    source = models.CharField(max_length=100, help_text="The receiver's own name for the sender.")
    message_id = models.CharField(max_length=255)
    received_at = models.DateTimeField(default=timezone.now, db_index=True)

    objects = ReceivedMessageManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="received_message_once_per_source", fields=["source", "message_id"]
            )
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.message_id}"
