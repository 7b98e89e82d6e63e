"""Angarium's own events, before they are emitted."""

from django.db import models
from django.db.models.functions import Now

from subscriptions.event_types import MAX_LENGTH


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
