"""Deliveries: an event's way to one endpoint."""

from django.db import models

from deliveries.models.attempts import Attempt
from deliveries.models.events import Event
from subscriptions.ids import IdField
from subscriptions.models import Endpoint


class Delivery(models.Model):
    """One event on its way to one endpoint."""

    class State(models.TextChoices):
        PENDING = "pending"  # to be sent as soon as a worker takes it
        SENDING = "sending"  # a worker holds it until lease_expires_at
        WAITING = "waiting"  # an attempt failed, or its turn is to come: at next_attempt_at
        HELD = "held"  # its endpoint takes none now, or is a feed that has yet to be fetched
        GATHERING = "gathering"  # waits for others, to be sent with them in one batch
        QUEUED = "queued"  # behind an earlier delivery of its ordering key
        BATCHED = "batched"  # in the batch of another delivery, its lead, whose fate it shares
        DELIVERED = "delivered"
        DEAD = "dead"  # given up; its dead letter says why
        DISCARDED = "discarded"  # dropped by a person, or with its endpoint

    id = IdField(prefix="dlv")
    # Both are indexed already, by the constraint and the index below that begin with them.
    event = models.ForeignKey(Event, models.CASCADE, related_name="deliveries", db_index=False)
    endpoint = models.ForeignKey(
        Endpoint, models.PROTECT, related_name="deliveries", db_index=False
    )
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    attempt_number = models.PositiveSmallIntegerField(
        default=0,
        help_text="How many attempts were begun; fences off workers that lost their lease.",
    )
    round_start = models.PositiveSmallIntegerField(
        default=0,
        help_text="The attempt number when it was last redriven; the retry schedule counts on it.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    rung_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="When its message reaches a worker, if it does; empty while none is under way.",
    )
    lead = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        editable=False,
        db_index=False,
        related_name="batched",
        help_text="The delivery in whose batch it is, or was; that one has the attempts.",
    )
    batch_size = models.PositiveSmallIntegerField(
        null=True, editable=False, help_text="How many deliveries it leads, itself included."
    )
    feed_position = models.BigIntegerField(
        null=True, editable=False, help_text="Its place in its feed, once it has been fetched."
    )
    ordering_key = models.CharField(max_length=255, null=True, editable=False)
    ordinal = models.BigIntegerField(null=True, editable=False)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(
                name="delivery_once_per_event_and_endpoint", fields=["event", "endpoint"]
            ),
            models.UniqueConstraint(
                name="delivery_has_a_place_of_its_own_in_its_feed",
                fields=["endpoint", "feed_position"],
                condition=models.Q(feed_position__isnull=False),
            ),
            models.CheckConstraint(
                name="delivery_state_is_known",
                condition=models.Q(
                    state__in=[
                        "pending",
                        "sending",
                        "waiting",
                        "held",
                        "gathering",
                        "queued",
                        "batched",
                        "delivered",
                        "dead",
                        "discarded",
                    ]
                ),
            ),
            models.UniqueConstraint(
                name="delivery_under_way_once_per_ordering_key",
                fields=["endpoint", "ordering_key"],
                condition=models.Q(
                    ordering_key__isnull=False,
                    state__in=["pending", "sending", "waiting", "held"],
                ),
            ),
            models.CheckConstraint(
                name="delivery_has_its_place_while_it_is_queued",
                condition=~models.Q(state="queued")
                | models.Q(ordering_key__isnull=False, ordinal__isnull=False),
            ),
            models.CheckConstraint(
                name="delivery_has_a_lead_while_it_is_batched",
                condition=~models.Q(state="batched") | models.Q(lead__isnull=False),
            ),
            models.CheckConstraint(
                name="delivery_has_a_lease_while_it_is_sending",
                condition=models.Q(state="sending", lease_expires_at__isnull=False)
                | (~models.Q(state="sending") & models.Q(lease_expires_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="delivery_knows_when_it_is_next_tried_while_it_waits",
                condition=~models.Q(state="waiting") | models.Q(next_attempt_at__isnull=False),
            ),
            models.CheckConstraint(
                name="delivery_has_ended_when_its_state_is_final",
                condition=models.Q(
                    state__in=["delivered", "dead", "discarded"], ended_at__isnull=False
                )
                | models.Q(
                    state__in=[
                        *["pending", "sending", "waiting", "held"],
                        *["gathering", "queued", "batched"],
                    ],
                    ended_at__isnull=True,
                ),
            ),
        ]
        indexes = [
            models.Index(name="delivery_by_endpoint", fields=["endpoint", "-id"]),
            models.Index(
                name="delivery_pending",
                fields=["rung_at"],
                condition=models.Q(state="pending"),
            ),
            models.Index(
                name="delivery_waiting",
                fields=["next_attempt_at"],
                condition=models.Q(state="waiting"),
            ),
            models.Index(
                name="delivery_sending",
                fields=["lease_expires_at"],
                condition=models.Q(state="sending"),
            ),
            models.Index(
                name="delivery_in_order",
                fields=["endpoint", "ordering_key", "ordinal"],
                condition=models.Q(state="queued"),
            ),
            models.Index(
                name="delivery_gathering",
                fields=["endpoint", "id"],
                condition=models.Q(state="gathering"),
            ),
            models.Index(
                name="delivery_by_lead",
                fields=["lead", "id"],
                condition=models.Q(lead__isnull=False),
            ),
            models.Index(
                name="delivery_batched", fields=["lead"], condition=models.Q(state="batched")
            ),
            models.Index(
                name="delivery_held", fields=["endpoint", "id"], condition=models.Q(state="held")
            ),
            # For lists. What is delivered, nearly all, is not in them.
            models.Index(
                name="delivery_not_delivered",
                fields=["state", "-id"],
                condition=models.Q(state__in=["dead", "discarded"]),
            ),
            models.Index(
                name="delivery_not_delivered_to",
                fields=["endpoint", "state", "-id"],
                condition=models.Q(state__in=["dead", "discarded", "waiting"]),
            ),
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def its_attempts(self) -> models.QuerySet[Attempt]:
        """The attempts at it, or at the batch that it is in."""
        return Attempt.objects.filter(delivery=self.lead_id or self.pk)
