"""Events: what happened in the application."""

import json
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from subscriptions.channels import MAX_LENGTH as MAX_CHANNEL_LENGTH
from subscriptions.event_types import MAX_LENGTH
from subscriptions.ids import IdField
from subscriptions.models import Subscriber


class Event(models.Model):
    """Something that happened in the application; its deliveries carry it to the endpoints."""

    id = IdField(prefix="evt")
    type = models.CharField(max_length=MAX_LENGTH)
    subscriber = models.ForeignKey(
        Subscriber,
        models.PROTECT,
        null=True,
        blank=True,
        db_index=False,
        help_text="Whose endpoints get it; everybody's that asked for it, where empty.",
    )
    channels = ArrayField(
        models.CharField(max_length=MAX_CHANNEL_LENGTH),
        null=True,
        blank=True,
        help_text="What it is labelled with; subscriptions may ask for some labels alone.",
    )
    payload = models.TextField(help_text="The event's data: the JSON text, as it is sent.")
    occurred_at = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(auto_now_add=True)
    idempotency_key = models.CharField(max_length=255, null=True, blank=True)
    ordering_key = models.CharField(
        max_length=255,
        null=True,
        blank=True,
        help_text="Events that share it arrive in order, at endpoints that ask for that.",
    )
    ordinal = models.BigIntegerField(
        null=True, editable=False, help_text="Its place among those, drawn from a sequence."
    )
    traceparent = models.CharField(
        max_length=55, null=True, editable=False, help_text="The trace in which it was emitted."
    )
    delivery_count = models.PositiveIntegerField(default=0)
    fan_out_after = models.UUIDField(
        null=True, editable=False, help_text="The last endpoint that the fan-out has reached."
    )
    fanned_out_at = models.DateTimeField(
        null=True, editable=False, help_text="When all its deliveries had been made."
    )

    # Not a column: emit() says so of an event that was there before, under its idempotency key.
    repeated = False

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                name="event_idempotency_key_once_per_subscriber",
                fields=["subscriber", "idempotency_key"],
                condition=models.Q(idempotency_key__isnull=False),
            ),
            models.UniqueConstraint(
                name="event_idempotency_key_once_for_everybody",
                fields=["idempotency_key"],
                condition=models.Q(idempotency_key__isnull=False, subscriber__isnull=True),
            ),
        ]
        indexes = [
            models.Index(name="event_by_type", fields=["type", "-id"]),
            models.Index(name="event_by_subscriber", fields=["subscriber", "-id"]),
            models.Index(
                name="event_to_fan_out",
                fields=["created_at"],
                condition=models.Q(fanned_out_at__isnull=True),
            ),
            models.Index(
                name="event_to_fan_out_in_order",
                fields=["ordering_key", "ordinal"],
                condition=models.Q(fanned_out_at__isnull=True, ordering_key__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"

    @property
    def data(self) -> Any:
        """The event's data, parsed."""
        return json.loads(self.payload)
