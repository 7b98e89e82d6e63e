"""Handshakes: that an endpoint is its owner's."""

from django.db import models

from webhooks.sending.outcome import OutcomeKind

OUTCOMES = [(kind.value, kind.value.replace("_", " ")) for kind in OutcomeKind]


class Handshake(models.Model):
    """That an endpoint has to repeat a challenge before anything is sent to it, and how that goes.

    Of the answers the last is kept. The challenge is not: each try has another.
    """

    endpoint = models.OneToOneField("Endpoint", models.CASCADE, primary_key=True)
    required_at = models.DateTimeField()
    due_at = models.DateTimeField(
        null=True, help_text="When the challenge is sent (again); empty once that is over."
    )
    tries = models.PositiveSmallIntegerField(default=0)
    tried_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=20, null=True, choices=OUTCOMES)
    status = models.PositiveSmallIntegerField(null=True, help_text="The HTTP status, if one came.")
    error = models.TextField(blank=True, help_text="Why it is not verified.")
    response_body = models.TextField(blank=True, help_text="Its first 4 KiB.")
    verified_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                name="handshake_due", fields=["due_at"], condition=models.Q(due_at__isnull=False)
            )
        ]

    def __str__(self) -> str:
        return f"{self.endpoint_id} {'verified' if self.verified_at else 'unverified'}"
