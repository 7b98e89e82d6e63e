"""What happened: events, their deliveries, the attempts at each, the dead letters, the replays."""

import json
from datetime import datetime, timedelta
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import TransactionNow
from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from subscriptions.attribution import ActorKind
from subscriptions.channels import MAX_LENGTH as MAX_CHANNEL_LENGTH
from subscriptions.event_types import MAX_LENGTH
from subscriptions.history import told
from subscriptions.ids import IdField, moment_of
from subscriptions.models import OUTCOMES, Endpoint, Subscriber, well_formed_pattern


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
                condition=models.Q(state__in=["dead", "discarded"]),
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
    dns_ms = models.PositiveIntegerField(null=True, help_text="What the name's look-up took.")
    connect_ms = models.PositiveIntegerField(null=True, help_text="What the connection took.")
    tls_ms = models.PositiveIntegerField(null=True, help_text="What the TLS handshake took.")
    first_byte_ms = models.PositiveIntegerField(
        null=True, help_text="From the connection being ready until the response began."
    )
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

    @property
    def steps(self) -> dict[str, int]:
        """The milliseconds of each step that it came to, in their order, the whole last."""
        steps = {
            "DNS": self.dns_ms,
            "connect": self.connect_ms,
            "TLS": self.tls_ms,
            "first byte": self.first_byte_ms,
            "total": self.duration_ms,
        }
        return {name: taken for name, taken in steps.items() if taken is not None}


class StateChange(models.Model):
    """A change of a delivery's state that neither an attempt nor its batch tells of.

    PostgreSQL writes it, in the transaction of the change: see migrations/0008_state_changes.py.
    """

    class Cause(models.TextChoices):
        PUT_BACK = "put_back"  # its endpoint has as much in flight, or as many a second, as it may
        ENDPOINT_ACTIVE = "endpoint_active"  # held all the same
        CIRCUIT_OPEN = "circuit_open"  # its endpoint's, or half-open
        ENDPOINT_PAUSED = "endpoint_paused"
        ENDPOINT_DISABLED = "endpoint_disabled"
        ENDPOINT_UNVERIFIED = "endpoint_unverified"
        ENDPOINT_FEED = "endpoint_feed"
        ENDPOINT_DELETED = "endpoint_deleted"
        RELEASED = "released"  # its endpoint is active again
        FETCHED = "fetched"  # from its feed
        EXPIRED = "expired"  # held for too long
        MOVED_UP = "moved_up"  # the head of its queue now
        UNORDERED = "unordered"  # its endpoint wants no order any more
        BATCH_FORMED = "batch_formed"  # it leads it, or goes alone
        BATCH_HALVED = "batch_halved"  # it leads the other half
        LEAD_DISCARDED = "lead_discarded"  # so that it gathers anew
        REDRIVEN = "redriven"  # by a person
        RECOVERED = "recovered"  # redriven by itself
        REPLAYED = "replayed"  # sent again, though it had ended
        DISCARDED = "discarded"  # by a person
        DROPPED = "dropped"  # its dead letter was past its retention

    id = models.BigAutoField(primary_key=True)
    delivery = models.ForeignKey(
        Delivery, models.CASCADE, related_name="state_changes", db_index=False
    )
    at = models.DateTimeField(
        db_default=TransactionNow(), help_text="Of several in a row, the last."
    )
    was = models.CharField(max_length=10, choices=Delivery.State)
    became = models.CharField(max_length=10, choices=Delivery.State)
    cause = models.CharField(max_length=20, choices=Cause)
    detail = models.CharField(max_length=200, db_default="", help_text="Why it was disabled.")
    times = models.PositiveIntegerField(
        db_default=1, help_text="How often in a row: what is put back may be so many times."
    )
    actor_kind = models.CharField(
        max_length=10, choices=ActorKind, db_default=told("actor_kind", otherwise="angarium")
    )
    actor_id = models.CharField(max_length=64, db_default=told("actor_id"))
    actor_name = models.CharField(max_length=200, db_default=told("actor_name"))

    class Meta:
        ordering = ["id"]
        default_permissions = ()
        indexes = [models.Index(name="state_change_of_delivery", fields=["delivery", "id"])]

    def __str__(self) -> str:
        return f"{self.delivery_id}: {self.was} to {self.became}"


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
