"""Erasures of subscribers."""

from django.db import models

from subscriptions.ids import IdField


class Erasure(models.Model):
    """That a subscriber is erased, with all that is its own. It outlives it, and has no name."""

    id = IdField(prefix="ers")
    # Not a foreign key: it will be gone.
    subscriber = models.CharField(max_length=36, unique=True)
    asked_at = models.DateTimeField(auto_now_add=True)
    deliveries = models.PositiveBigIntegerField(default=0, help_text="How many were erased.")
    events = models.PositiveBigIntegerField(default=0, help_text="How many were erased.")
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        default_permissions = ["view"]
        indexes = [
            models.Index(
                name="erasure_to_do", fields=["id"], condition=models.Q(ended_at__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return f"{self.subscriber} {'erased' if self.ended_at else 'is being erased'}"
