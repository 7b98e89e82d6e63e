"""The serializer fields that are Angarium's own."""

from typing import Any, cast

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from subscriptions.api.access import visible
from subscriptions.channels import CHANNEL_PATTERN, MAX_CHANNELS, InvalidChannels, normalized
from subscriptions.channels import MAX_LENGTH as MAX_CHANNEL_LENGTH
from subscriptions.event_types import MAX_LENGTH, NAME_PATTERN
from subscriptions.expressions import MAX_BYTES
from subscriptions.ids import IdField
from subscriptions.models import Endpoint, check_filter
from webhooks.confidential import Confidential


class Id(serializers.RegexField):
    """An id as the API shows it: a prefix, "_" and 32 hex digits."""

    def __init__(self, prefix: str = "[a-z]+", **options: Any) -> None:
        options.setdefault("help_text", "A prefix that says what it names, and 32 hex digits.")
        super().__init__(
            rf"^{prefix}_[0-9a-f]{{32}}$",
            error_messages={"invalid": f"Not such an id: it would be {prefix}_ and 32 hex digits."},
            **options,
        )


# DRF and drf-spectacular would take it for the UUID that only the database sees.
serializers.ModelSerializer.serializer_field_mapping[IdField] = Id


@extend_schema_field({"type": "object", "additionalProperties": {}})
class JsonObject(serializers.JSONField):
    """JSON that is an object."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            raise serializers.ValidationError("Send a JSON object.")
        return super().to_internal_value(data)


class EventTypeName(serializers.RegexField):
    """The name of an event type, as in invoice.paid."""

    default_error_messages = {
        "invalid": "Use words of letters, digits, '_' and '-', joined by full stops, as in "
        "invoice.paid."
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(NAME_PATTERN, max_length=MAX_LENGTH, **options)


class OwnRow(serializers.PrimaryKeyRelatedField[Any]):
    """Names a row that the API key may see; `owner` is the look-up that leads to a subscriber."""

    def __init__(self, *, owner: str, **options: Any) -> None:
        self.owner = owner
        super().__init__(**options)

    def get_queryset(self) -> QuerySet[Any]:
        rows = cast("QuerySet[Any]", super().get_queryset())
        return visible(rows, self.context["request"], self.owner)


class Channels(serializers.ListField):
    """The channels of an event or a subscription, in order; none is an empty list."""

    def __init__(self, **options: Any) -> None:
        child = serializers.RegexField(
            CHANNEL_PATTERN,
            max_length=MAX_CHANNEL_LENGTH,
            error_messages={"invalid": "Use letters, digits, '_', '-', '.' and ':'."},
        )
        super().__init__(child=child, max_length=MAX_CHANNELS, **options)

    def get_attribute(self, instance: Any) -> list[str]:
        return instance.channels or []

    def to_internal_value(self, data: Any) -> Any:
        try:
            return normalized(super().to_internal_value(data))
        except InvalidChannels as error:
            raise serializers.ValidationError(str(error)) from error


class Filter(serializers.CharField):
    """A JMESPath expression, or nothing."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            max_length=MAX_BYTES, allow_blank=True, validators=[check_filter], **options
        )


class Secret(serializers.CharField):
    """A signing secret: one's own on the way in, the endpoint's newest on the way out.

    A private key does not go out: null takes its place, as it does where there is no secret.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_null=True, **options)

    def to_internal_value(self, data: Any) -> str:
        return Confidential(super().to_internal_value(data))

    def get_attribute(self, endpoint: Endpoint) -> str | None:
        secret = endpoint.signing_secrets.filter(expires_at=None).first()
        return None if secret is None else secret.reveal()


class PublicKeys(serializers.ListField):
    """What verifies an endpoint's Ed25519 signatures, newest first; two during a rotation."""

    child = serializers.CharField()

    def __init__(self, **options: Any) -> None:
        super().__init__(read_only=True, **options)

    def get_attribute(self, endpoint: Endpoint) -> list[str]:
        secrets = endpoint.signing_secrets.all()
        return [one.public_key for one in secrets if one.public_key and one.signs_now]


class Warnings(serializers.ListField):
    """What may not be meant, though it is done."""

    child = serializers.CharField()

    def __init__(self, **options: Any) -> None:
        super().__init__(read_only=True, **options)

    def get_attribute(self, endpoint: Endpoint) -> list[str]:
        return endpoint.warnings()
