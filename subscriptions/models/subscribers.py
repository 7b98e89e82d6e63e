"""Subscribers: whose the endpoints are."""

from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models

from subscriptions.event_types import (
    FLAG_PATTERN,
    MAX_FLAG_LENGTH,
)
from subscriptions.hidden_characters import refuse_hidden
from subscriptions.ids import IdField


class SubscriberQuerySet(models.QuerySet["Subscriber"]):
    def staying(self) -> Self:
        """Those that are not being erased."""
        return self.filter(erasing_since=None)


class Subscriber(models.Model):
    """A customer, or whoever else owns endpoints."""

    id = IdField(prefix="sub")
    name = models.CharField(max_length=200, validators=[refuse_hidden])
    external_id = models.CharField(
        max_length=200,
        validators=[refuse_hidden],
        unique=True,
        null=True,
        blank=True,
        help_text="The subscriber's id in your own system.",
    )
    feature_flags = ArrayField(
        models.CharField(max_length=MAX_FLAG_LENGTH, validators=[RegexValidator(FLAG_PATTERN)]),
        default=list,
        blank=True,
        help_text="It is offered, and gets, the event types with one of these feature flags too.",
    )
    operator = models.BooleanField(
        default=False,
        help_text="Whether it is you who run Angarium: its endpoints may ask for Angarium's own "
        "events (endpoint.disabled, delivery.dead, ...), and cause none.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    erasing_since = models.DateTimeField(
        null=True, editable=False, help_text="When it was asked to be erased with all its own."
    )

    objects = SubscriberQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                name="subscriber_operator", fields=["id"], condition=models.Q(operator=True)
            )
        ]

    def __str__(self) -> str:
        return self.name
