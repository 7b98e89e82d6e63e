"""The catalogue of event types."""

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models

from subscriptions.event_types import (
    FLAG_PATTERN,
    MAX_FLAG_LENGTH,
    MAX_LENGTH,
    NAME_PATTERN,
)
from subscriptions.hidden_characters import refuse_hidden
from subscriptions.payload_schemas import InvalidSchema, first_fault, json_text, schema_text


class EventType(models.Model):
    """A name that events go by, in the catalogue that subscribers choose from."""

    class SchemaCheck(models.TextChoices):
        REFUSE = "refuse"  # emit() raises an error
        WARN = "warn"  # it is logged, and the event is delivered
        OFF = "off"  # the schema is there to be read

    name = models.CharField(
        primary_key=True, max_length=MAX_LENGTH, validators=[RegexValidator(NAME_PATTERN)]
    )
    description = models.TextField(blank=True, validators=[refuse_hidden])
    group = models.CharField(
        max_length=64, blank=True, help_text="Under which heading it is listed, as in Billing."
    )
    archived = models.BooleanField(
        default=False, help_text="No longer offered to subscribers; still delivered."
    )
    feature_flag = models.CharField(
        max_length=MAX_FLAG_LENGTH,
        blank=True,
        validators=[RegexValidator(FLAG_PATTERN)],
        help_text="Where set, only for the subscribers that have this feature flag; to all others "
        "it does not exist.",
    )
    schema = models.JSONField(
        null=True, blank=True, help_text="What the data is like: a JSON Schema, draft 2020-12."
    )
    schema_check = models.CharField(
        max_length=10,
        choices=SchemaCheck,
        default=SchemaCheck.REFUSE,
        help_text="What becomes of an event whose data breaks the schema: it is refused, or a "
        "warning is logged and it is delivered, or nobody looks.",
    )
    example = models.JSONField(
        null=True, blank=True, help_text="What the data may look like; it must satisfy the schema."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                name="event_type_name_is_dotted_words",
                condition=models.Q(name__regex=NAME_PATTERN),
            ),
            models.CheckConstraint(
                name="event_type_schema_check_is_known",
                condition=models.Q(schema_check__in=["refuse", "warn", "off"]),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raise ValidationError where the schema is none, or the example does not satisfy it."""
        checked = "schema"
        try:
            schema = None if self.schema is None else schema_text(self.schema)
            checked = "example"
            if self.example is not None:
                json_text(self.example)
        except InvalidSchema as error:
            raise ValidationError({checked: str(error)}) from error
        fault = self.example is not None and schema and first_fault(schema, self.example)
        if fault:
            raise ValidationError({"example": f"It breaks the schema: {fault}."})
