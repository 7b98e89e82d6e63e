"""What happened: events, their deliveries, the attempts at each, and the dead letters."""

import json
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from subscriptions.channels import MAX_LENGTH as MAX_CHANNEL_LENGTH
from subscriptions.event_types import MAX_LENGTH
from subscriptions.ids import IdField
from subscriptions.models import OUTCOMES, Endpoint, Subscriber


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


class Delivery(models.Model):
    """One event on its way to one endpoint."""

    class State(models.TextChoices):
        PENDING = "pending"  # to be sent as soon as a worker takes it
        SENDING = "sending"  # a worker holds it until lease_expires_at
        WAITING = "waiting"  # an attempt failed; the next is at next_attempt_at
        HELD = "held"  # its endpoint is not active, or is a feed that has yet to be fetched
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
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def its_attempts(self) -> models.QuerySet["Attempt"]:
        """The attempts at it, or at the batch that it is in."""
        return Attempt.objects.filter(delivery=self.lead_id or self.pk)


class Attempt(models.Model):
    """One POST, and what came of it."""

    delivery = models.ForeignKey(Delivery, models.CASCADE, related_name="attempts", db_index=False)
    number = models.PositiveSmallIntegerField()
    outcome = models.CharField(max_length=20, choices=OUTCOMES)
    status = models.PositiveSmallIntegerField(null=True, help_text="The HTTP status, if one came.")
    duration_ms = models.PositiveIntegerField()
    error = models.TextField(blank=True)
    response_body = models.TextField(blank=True, help_text="Its first 4 KiB.")
    ended_at = models.DateTimeField()

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(
                name="attempt_number_once_per_delivery", fields=["delivery", "number"]
            ),
        ]

    def __str__(self) -> str:
        return f"{self.delivery_id} #{self.number}: {self.outcome}"


class DeadLetter(models.Model):
    """Why a delivery was given up, when, and what became of it after."""

    class Reason(models.TextChoices):
        EXHAUSTED = "exhausted"  # every attempt of the retry schedule failed
        GONE = "gone"  # the endpoint answered 410
        ADDRESS_REFUSED = "address_refused"  # the endpoint's address is not allowed
        UNRENDERABLE = "unrenderable"  # no request could be made of it
        EXPIRED = "expired"  # it was held for too long

    class Resolution(models.TextChoices):
        REDRIVEN = "redriven"  # by a person
        RECOVERED = "recovered"  # redriven by itself, as its endpoint works again
        DISCARDED = "discarded"  # by a person
        DROPPED = "dropped"  # past its retention

    id = IdField(prefix="dead")
    delivery = models.ForeignKey(Delivery, models.CASCADE, related_name="dead_letters")
    # The delivery's own, kept here for the indexes; a trigger fills them in from there.
    endpoint = models.ForeignKey(
        Endpoint, models.PROTECT, editable=False, related_name="+", db_index=False
    )
    subscriber = models.ForeignKey(
        Subscriber, models.PROTECT, editable=False, related_name="+", db_index=False
    )
    event_type = models.CharField(max_length=MAX_LENGTH, editable=False)
    reason = models.CharField(max_length=20, choices=Reason)
    last_error = models.TextField(blank=True)
    died_at = models.DateTimeField()
    resolution = models.CharField(max_length=10, choices=Resolution, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                name="dead_letter_open_once_per_delivery",
                fields=["delivery"],
                condition=models.Q(resolution=""),
            ),
            models.CheckConstraint(
                name="dead_letter_is_resolved_at_a_time",
                condition=models.Q(resolution="", resolved_at__isnull=True)
                | (~models.Q(resolution="") & models.Q(resolved_at__isnull=False)),
            ),
        ]
        indexes = [
            models.Index(
                name="dead_letter_open",
                fields=["died_at"],
                condition=models.Q(resolution=""),
            ),
            models.Index(name="dead_letter_by_resolution", fields=["resolution", "-id"]),
            models.Index(name="dead_letter_by_endpoint", fields=["endpoint", "resolution", "-id"]),
            models.Index(
                name="dead_letter_by_subscriber", fields=["subscriber", "resolution", "-id"]
            ),
            models.Index(name="dead_letter_by_type", fields=["event_type", "resolution", "-id"]),
            models.Index(name="dead_letter_by_reason", fields=["reason", "resolution", "-id"]),
            models.Index(
                name="dead_letter_to_recover",
                fields=["endpoint", "id"],
                condition=models.Q(resolution="", reason="exhausted"),
            ),
            models.Index(
                name="dead_letter_recovered",
                fields=["resolved_at"],
                condition=models.Q(resolution="recovered"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.delivery_id}: {self.get_reason_display()}"


class DeadLetterJob(models.Model):
    """A redrive or discard of all dead letters that match, however many; done chunk by chunk."""

    class Action(models.TextChoices):
        REDRIVE = "redrive"
        DISCARD = "discard"

    id = IdField(prefix="job")
    action = models.CharField(max_length=10, choices=Action)
    selection = models.JSONField(
        encoder=DjangoJSONEncoder, help_text="Which open dead letters are meant, as look-ups."
    )
    subscriber = models.ForeignKey(
        Subscriber,
        models.CASCADE,
        null=True,
        help_text="Whose API key asked for it, if that was bound to one.",
    )
    after = models.UUIDField(null=True, help_text="The last dead letter that it has come to.")
    up_to = models.UUIDField(help_text="Those that came later are not meant.")
    matched = models.PositiveBigIntegerField(help_text="How many there were at the start.")
    changed = models.PositiveBigIntegerField(default=0, help_text="How many it has changed.")
    asked_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = "job on dead letters"
        verbose_name_plural = "jobs on dead letters"
        default_permissions = ["view"]
        indexes = [
            models.Index(
                name="dead_letter_job_to_do",
                fields=["id"],
                condition=models.Q(ended_at__isnull=True),
            )
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.id}"


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


class OperationalNoticeManager(models.Manager["OperationalNotice"]):
    def take(self, limit: int) -> list["OperationalNotice"]:
        """Take the oldest out, for the caller's transaction to make events of."""
        rows = self.select_for_update(skip_locked=True).order_by("pk")[:limit]
        notices = list(rows)
        self.filter(pk__in=[notice.pk for notice in notices]).delete()
        return notices


class OperationalNotice(models.Model):
    """One of Angarium's own events, that is yet to be emitted; a trigger writes it."""

    type = models.CharField(max_length=MAX_LENGTH)
    at = models.DateTimeField(db_default=Now())
    data = models.JSONField()

    objects = OperationalNoticeManager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.type} {self.pk}"
