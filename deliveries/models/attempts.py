"""Attempts: each POST of a delivery."""

from django.db import models

from subscriptions.models import OUTCOMES


class Attempt(models.Model):
    """One POST, and what came of it."""

    delivery = models.ForeignKey(
        "Delivery", models.CASCADE, related_name="attempts", db_index=False
    )
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
    response_headers = models.TextField(
        blank=True,
        default="",
        db_default="",
        help_text="A line for each, the first 2 KiB of them; none on success.",
    )
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
