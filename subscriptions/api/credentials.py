"""Custom headers and authentication: secrets come in, and only what is not secret goes out."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from django.core.exceptions import ValidationError
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from subscriptions.authentication import (
    KINDS,
    Authentication,
    InvalidAuthentication,
    MutualTLS,
    read,
)
from subscriptions.conf import SubscriptionSettings, part
from subscriptions.models import Endpoint
from webhooks.sending.headers import InvalidHeader, check_custom_headers


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise ValidationError unless an endpoint may have these custom headers."""
    try:
        check_custom_headers(headers)
    except InvalidHeader as error:
        raise ValidationError(str(error)) from error


class Headers(serializers.DictField):
    """Custom headers, by their names."""

    child = serializers.CharField(allow_blank=True, trim_whitespace=False)

    def __init__(self, **options: Any) -> None:
        super().__init__(validators=[check_headers], **options)


class HeaderNames(serializers.ListField):
    """The names of an endpoint's custom headers."""

    child = serializers.CharField()

    def __init__(self, **options: Any) -> None:
        super().__init__(read_only=True, **options)

    def get_attribute(self, endpoint: Endpoint) -> list[str]:
        names: list[str] = endpoint.shown_credentials["header_names"]
        return names


def _schema(kind: type[Authentication]) -> dict[str, Any]:
    texts = fields(kind)
    properties: dict[str, Any] = {"kind": {"type": "string", "enum": [kind.kind]}}
    for one in texts:
        properties[one.name] = {"type": "string", "maxLength": kind.max_length}
        if not one.repr:
            properties[one.name]["writeOnly"] = True
    if kind is MutualTLS:
        properties["subject"] = {"type": "string", "readOnly": True}
        properties["expires_at"] = {"type": "string", "format": "date-time", "readOnly": True}
    return {
        "type": "object",
        "description": kind.__doc__,
        "properties": properties,
        "required": ["kind", *(one.name for one in texts if one.default is MISSING)],
        "additionalProperties": False,
    }


@extend_schema_field({"oneOf": [_schema(kind) for kind in KINDS.values()]})
class AuthenticationField(serializers.Field):  # type: ignore[type-arg]
    """How deliveries authenticate themselves towards an endpoint."""

    default_error_messages = {"invalid": "Give an object with the kind and that kind's fields."}

    def get_attribute(self, endpoint: Endpoint) -> dict[str, Any]:
        shown: dict[str, Any] = endpoint.shown_credentials["authentication"]
        return shown

    def to_representation(self, shown: dict[str, Any]) -> dict[str, Any]:
        return shown

    def to_internal_value(self, given: Any) -> Authentication:
        if not isinstance(given, Mapping):
            self.fail("invalid")
        try:
            return read(given, part(SubscriptionSettings).address_policy())
        except InvalidAuthentication as error:
            raise serializers.ValidationError({error.field: [str(error)]}) from error
