"""How subscribers, endpoints and what they ask for look from outside."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers
from rest_framework.validators import UniqueValidator

from subscriptions.api.fields import EventTypeName, Id, OwnRow, Patterns, Secret
from subscriptions.models import Endpoint, EventType, SigningSecret, Subscriber, Subscription


# Not in a docstring, which would be every subclass's description in the OpenAPI document.
# Refuses what it does not know and what cannot be set, rather than pass it over.
class Strict(serializers.Serializer[Any]):
    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            refused = {}
            for name in data:
                if name not in self.fields:
                    refused[name] = ["There is no such field."]
                elif self.fields[name].read_only:
                    refused[name] = ["This field cannot be set."]
            if refused:
                raise serializers.ValidationError(refused)
        return super().to_internal_value(data)


class EventTypeSerializer(Strict, serializers.ModelSerializer[EventType]):
    class Meta:
        model = EventType
        fields = ["name", "description", "archived", "created_at"]
        read_only_fields = ["name", "created_at"]


class NewEventTypeSerializer(EventTypeSerializer):
    name = EventTypeName(validators=[UniqueValidator(EventType.objects.all())])


class EventTypeFilters(Strict):
    archived = serializers.BooleanField(required=False)


class SubscriberSerializer(Strict, serializers.ModelSerializer[Subscriber]):
    class Meta:
        model = Subscriber
        fields = ["id", "name", "external_id", "created_at"]


class SubscriberFilters(Strict):
    external_id = serializers.CharField(required=False)


class EndpointSerializer(Strict, serializers.ModelSerializer[Endpoint]):
    subscriptions = Patterns(
        required=False,
        help_text="Event types (invoice.paid), all below one (invoice.*), or all (*). "
        "A list takes the place of the one before.",
    )

    class Meta:
        model = Endpoint
        fields = [
            "id",
            "subscriber",
            "url",
            "description",
            "subscriptions",
            "state",
            "disabled_reason",
            "created_at",
            "last_success_at",
            "last_failure_at",
            "failing_since",
        ]
        read_only_fields = ["subscriber", "state", "disabled_reason"]

    def update(self, endpoint: Endpoint, changes: dict[str, Any]) -> Endpoint:
        patterns = changes.pop("subscriptions", None)
        endpoint = super().update(endpoint, changes)
        if patterns is not None:
            endpoint.subscriptions.exclude(pattern__in=patterns).delete()
            _subscribe(endpoint, patterns)
        return endpoint


class NewEndpointSerializer(EndpointSerializer):
    subscriber = OwnRow(owner="pk", queryset=Subscriber.objects.all())
    secret = Secret(
        required=False,
        help_text="The signing secret; a new one unless you bring your own. Shown this once.",
    )

    class Meta(EndpointSerializer.Meta):
        fields = [*EndpointSerializer.Meta.fields, "secret"]
        read_only_fields = ["state", "disabled_reason"]

    def create(self, given: dict[str, Any]) -> Endpoint:
        patterns, secret = given.pop("subscriptions", []), given.pop("secret", None)
        endpoint = Endpoint.objects.create(**given)
        _subscribe(endpoint, patterns)
        SigningSecret.objects.issue(endpoint, secret)
        return endpoint


def _subscribe(endpoint: Endpoint, patterns: list[str]) -> None:
    Subscription.objects.bulk_create(
        [Subscription(endpoint=endpoint, pattern=pattern) for pattern in dict.fromkeys(patterns)],
        update_conflicts=True,
        unique_fields=["endpoint", "pattern"],
        update_fields=["enabled"],
    )


class EndpointFilters(Strict):
    subscriber = Id("sub", required=False)
    state = serializers.ChoiceField(
        [state for state in Endpoint.State.values if state != Endpoint.State.DELETED],
        required=False,
    )


class SecretSerializer(Strict):
    secret = Secret(required=False, help_text="One's own instead of a new one.")


class SubscriptionSerializer(Strict, serializers.ModelSerializer[Subscription]):
    class Meta:
        model = Subscription
        fields = ["id", "endpoint", "pattern", "enabled", "created_at"]
        read_only_fields = ["endpoint", "pattern"]


class NewSubscriptionSerializer(SubscriptionSerializer):
    endpoint = OwnRow(owner="subscriber", queryset=Endpoint.objects.existing())

    class Meta(SubscriptionSerializer.Meta):
        read_only_fields = []


class SubscriptionFilters(Strict):
    endpoint = Id("ep", required=False)
    enabled = serializers.BooleanField(required=False)
