"""Dead letters, and the jobs that redrive or discard many."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from deliveries.models.deliveries import Delivery
from subscriptions.event_types import MAX_LENGTH
from subscriptions.ids import IdField
from subscriptions.models import Endpoint, Subscriber


class DeadLetter(models.Model):
    """Why a delivery was given up, when, and what became of it after."""

    class Reason(models.TextChoices):
        EXHAUSTED = "exhausted"  # every attempt of the retry schedule failed
        GONE = "gone"  # the endpoint answered 410
        ADDRESS_REFUSED = "address_refused"  # the endpoint's address is not allowed
        UNRENDERABLE = "unrenderable"  # no request could be made of it
        EXPIRED = "expired"  # it was held for too long
        ENDPOINT_DISABLED = "endpoint_disabled"  # the same, as its endpoint stayed disabled

    class Resolution(models.TextChoices):
        REDRIVEN = "redriven"  # by a person
        RECOVERED = "recovered"  # redriven by itself, as its endpoint works again
        REPLAYED = "replayed"  # by a person, or with others by a replay
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
            models.Index(
                name="dead_letter_open_by_reason",
                fields=["reason", "died_at"],
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
