"""State changes of deliveries that no attempt tells of."""

from django.contrib.postgres.functions import TransactionNow
from django.db import models

from deliveries.models.deliveries import Delivery
from subscriptions.attribution import ActorKind
from subscriptions.history import told


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
