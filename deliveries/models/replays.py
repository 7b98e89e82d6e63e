"""Replays: what an endpoint is sent again."""

from datetime import datetime, timedelta

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from deliveries.models.deliveries import Delivery
from subscriptions.event_types import MAX_LENGTH
from subscriptions.ids import IdField, moment_of
from subscriptions.models import Endpoint, well_formed_pattern


class Replay(models.Model):
    """A job: an endpoint is sent again what it was sent before, or at last what it never got."""

    class Kind(models.TextChoices):
        AGAIN = "again", "again: what it was sent before"
        MISSED = "missed", "missed: events that it asks for and never got"

    class State(models.TextChoices):
        RUNNING = "running"
        PAUSED = "paused"
        FINISHED = "finished"  # it has come to the end of its range
        CANCELLED = "cancelled"  # by a person, or with its endpoint

    UNDER_WAY = (State.RUNNING, State.PAUSED)
    MAX_RATE = 1000
    ENDED = (("delivered", "delivered"), ("dead", "dead"), ("discarded", "discarded"))

    id = IdField(prefix="rpl")
    endpoint = models.ForeignKey(Endpoint, models.PROTECT, related_name="replays")
    kind = models.CharField(
        max_length=10, choices=Kind, default=Kind.AGAIN, help_text="What it is sent."
    )
    pattern = models.CharField(
        max_length=MAX_LENGTH,
        default="*",
        validators=[well_formed_pattern],
        help_text="Only events of this type (invoice.paid), or below it (invoice.*); or all (*).",
    )
    states = ArrayField(
        models.CharField(max_length=10, choices=ENDED),
        default=list,
        blank=True,
        help_text="Only deliveries that ended so; what was delivered or is dead, where empty.",
    )
    since = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Only events emitted from then on. Where empty: all that it was sent; of those "
        "that it never got, the ones emitted since it was registered.",
    )
    until = models.DateTimeField(blank=True, help_text="Only events emitted before; now, if empty.")
    rate = models.PositiveSmallIntegerField(
        default=50,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_RATE)],
        help_text=f"So many a second at most, 1 to {MAX_RATE}.",
    )
    state = models.CharField(max_length=10, choices=State, default=State.RUNNING)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    due_at = models.DateTimeField(
        null=True, editable=False, help_text="When it goes on; empty unless it is running."
    )
    cursor = models.UUIDField(
        null=True, editable=False, help_text="The last delivery, or event, that it has come by."
    )
    replayed = models.PositiveBigIntegerField(
        default=0, editable=False, help_text="How many it has sent, or put on their way."
    )
    ended_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                name="replay_under_way_once_per_endpoint",
                fields=["endpoint"],
                condition=models.Q(state__in=["running", "paused"]),
            ),
            models.CheckConstraint(
                name="replay_kind_is_known", condition=models.Q(kind__in=["again", "missed"])
            ),
            models.CheckConstraint(
                name="replay_says_of_deliveries_alone_how_they_ended",
                condition=models.Q(
                    kind="again",
                    states__contained_by=["delivered", "dead", "discarded"],
                    states__len__gt=0,
                )
                | models.Q(kind="missed", states=[], since__isnull=False),
            ),
            models.CheckConstraint(
                name="replay_range_has_a_beginning_before_its_end",
                condition=models.Q(since__isnull=True) | models.Q(since__lt=models.F("until")),
            ),
            models.CheckConstraint(
                name="replay_rate_is_bounded", condition=models.Q(rate__gte=1, rate__lte=1000)
            ),
            models.CheckConstraint(
                name="replay_is_due_while_it_is_running_and_has_ended_at_its_end",
                condition=models.Q(state="running", due_at__isnull=False, ended_at__isnull=True)
                | models.Q(state="paused", due_at__isnull=True, ended_at__isnull=True)
                | models.Q(
                    state__in=["finished", "cancelled"], due_at__isnull=True, ended_at__isnull=False
                ),
            ),
        ]
        indexes = [
            models.Index(
                name="replay_running", fields=["due_at"], condition=models.Q(state="running")
            )
        ]

    def __str__(self) -> str:
        return self.id

    def clean(self) -> None:
        """Fill in what was left open. Raises ValidationError where nothing can be replayed so."""
        if self.endpoint.is_feed:
            raise ValidationError(
                "A feed is not replayed: whoever fetches it goes back to an earlier cursor."
            )
        if self.endpoint.state == Endpoint.State.DELETED:
            raise ValidationError("The endpoint is deleted.")
        if self.kind == self.Kind.MISSED:
            if self.states:
                raise ValidationError({"states": "What it never got has not ended in any way."})
            self.since = self.since or self.endpoint.created_at
        else:
            ended = [Delivery.State.DELIVERED, Delivery.State.DEAD]
            self.states = sorted(set(self.states)) or [state.value for state in ended]
        self.until = min(self.until or self.created_at, self.created_at)
        if self.since is not None and self.since >= self.until:
            raise ValidationError({"since": "The range has to begin before it ends, or now."})

    @property
    def end(self) -> datetime:
        """Up to which time of creation it looks: at deliveries, or at events."""
        return self.created_at if self.kind == self.Kind.AGAIN else self.until

    @property
    def progress(self) -> float:
        """How much of its range it has come by, 0 to 1: a share of the time, not of the rows."""
        if self.state == self.State.FINISHED:
            return 1.0
        if self.cursor is None:
            return 0.0
        start = self.since or self.endpoint.created_at
        if self.kind == self.Kind.AGAIN:
            start = max(start, self.endpoint.created_at)
        share = (moment_of(self.cursor) - start) / max(self.end - start, timedelta.resolution)
        return min(max(share, 0.0), 1.0)

    @property
    def waits_for(self) -> str:
        """What a running one waits for; empty where it goes on."""
        if self.state != self.State.RUNNING or self.endpoint.takes_deliveries:
            return ""
        if self.endpoint.state == Endpoint.State.ACTIVE:
            return "Its endpoint's circuit is open: the replay goes on when that is closed."
        return f"Its endpoint is {self.endpoint.state}: the replay goes on when that is active."
