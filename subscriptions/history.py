"""The history: who changed what, and when. It outlives what it is about, and tells no secret.

PostgreSQL writes it. A trigger on each table that people change notes every change of a row, by
whatever way it comes, and whose it is as the session was told (subscriptions/attribution.py); the
migration that makes the triggers says which columns' values are told. What no row's change shows,
such as a reveal, is written here by those who do it.
"""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models.functions import Coalesce, Now, NullIf

from subscriptions.attribution import Actor, ActorKind
from subscriptions.dropping import drop_some
from subscriptions.hidden_characters import shown
from subscriptions.ids import IdField, lowest_uuid_at

if TYPE_CHECKING:
    from subscriptions.models import SigningSecret


def told(name: str, *, otherwise: str = "") -> Coalesce:
    """What PostgreSQL was told of whoever makes the changes of this transaction."""
    setting = models.Func(
        models.Value(f"angarium.{name}"), models.Value(True), function="current_setting"
    )
    return Coalesce(NullIf(setting, models.Value("")), models.Value(otherwise))


class HistoryManager(models.Manager["HistoryEntry"]):
    def note_reveal(self, secret: "SigningSecret") -> None:
        self.create(
            action=HistoryEntry.Action.REVEALED,
            kind=HistoryEntry.Kind.SIGNING_SECRET,
            object_id=secret.pk,
            endpoint=secret.endpoint_id,
            subscriber=secret.endpoint.subscriber_id,
        )

    def drop_before(self, moment: datetime, limit: int) -> int:
        """Delete some of the entries that are older. Returns how many."""
        return drop_some(self.filter(pk__lt=lowest_uuid_at(moment)).order_by("pk"), limit)


class HistoryEntry(models.Model):
    """One change, and who made it: what was created, changed, deleted, shown or decided."""

    class Action(models.TextChoices):
        CREATED = "created"
        CHANGED = "changed"
        DELETED = "deleted"
        REVEALED = "revealed"  # a signing secret, to whoever asked
        REENCRYPTED = "reencrypted"  # under the newest encryption key
        REDRIVEN = "redriven"  # deliveries that were dead
        RECOVERED = "recovered"  # the same, by Angarium, as their endpoint works again
        REPLAYED = "replayed"  # deliveries that had ended, in whatever way
        DISCARDED = "discarded"  # deliveries that had not arrived
        DROPPED = "dropped"  # the same, by Angarium, past their retention
        ERASED = "erased"  # a subscriber, with all that was its own

    class Kind(models.TextChoices):
        SUBSCRIBER = "subscriber"
        ENDPOINT = "endpoint"
        SUBSCRIPTION = "subscription"
        SIGNING_SECRET = "signing_secret", "Signing secret"
        EVENT_TYPE = "event_type", "Event type"
        API_KEY = "api_key", "API key"
        DELIVERY = "delivery"
        REPLAY = "replay"

    id = IdField(prefix="hist")
    at = models.DateTimeField(db_default=Now())
    action = models.CharField(max_length=12, choices=Action)
    kind = models.CharField("what", max_length=16, choices=Kind)
    object_id = models.CharField(
        "id",
        max_length=128,
        blank=True,
        help_text="An event type's name, an API key's prefix; empty where it concerns many.",
    )
    name = models.TextField(blank=True, help_text="What people knew it by at the time.")
    count = models.PositiveIntegerField(db_default=1, help_text="How many it concerns.")
    # Not foreign keys: these may be gone.
    endpoint = models.CharField(max_length=36, blank=True)
    subscriber = models.CharField(max_length=36, blank=True)
    changes = models.JSONField(
        default=dict,
        db_default={},
        help_text="By column, what it was and what it became; null where neither is ever told.",
    )
    actor_kind = models.CharField(
        "who",
        max_length=10,
        choices=ActorKind,
        db_default=told("actor_kind", otherwise="angarium"),
    )
    actor_id = models.CharField(
        max_length=64, db_default=told("actor_id"), help_text="Of an API key its prefix."
    )
    actor_name = models.CharField(max_length=200, db_default=told("actor_name"))
    ip_address = models.CharField("IP address", max_length=45, db_default=told("ip_address"))
    request_id = models.CharField("request id", max_length=128, db_default=told("request_id"))

    objects = HistoryManager()

    class Meta:
        ordering = ["-id"]
        verbose_name = "history entry"
        verbose_name_plural = "history entries"
        default_permissions = ["view"]
        indexes = [
            models.Index(name="history_of_object", fields=["kind", "object_id", "-id"]),
            models.Index(name="history_of_endpoint", fields=["endpoint", "-id"]),
            models.Index(name="history_of_subscriber", fields=["subscriber", "-id"]),
            models.Index(name="history_of_kind", fields=["kind", "-id"]),
            models.Index(name="history_by_action", fields=["action", "-id"]),
            models.Index(name="history_by_actor_kind", fields=["actor_kind", "-id"]),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.action}"

    def lines(self) -> list[str]:
        """What changed, in words: a line for each column."""
        return [f"{column}: {self._became(values)}" for column, values in self.changes.items()]

    def _became(self, values: list[Any] | None) -> str:
        if values is None:
            return "changed"
        was, became = values
        if self.action == self.Action.CHANGED:
            return f"{_written(was)} → {_written(became)}"
        return _written(became if was is None else was)

    @property
    def actor(self) -> str:
        """Who it was, in words."""
        return str(Actor(ActorKind(self.actor_kind), self.actor_id, self.actor_name))


def _written(value: Any) -> str:
    if value in (None, ""):
        return "nothing"
    return shown(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
