"""What the receivers' handlers were called with."""

from django.db import models


class Arrival(models.Model):
    """One call of a handler. Nothing here is unique, so that a second call would show."""

    receiver = models.CharField(max_length=20)
    event = models.CharField(max_length=64)
    type = models.CharField(max_length=128)
    data = models.JSONField()

    objects: models.Manager["Arrival"] = models.Manager()

    def __str__(self) -> str:
        return f"{self.receiver}: {self.event}"
