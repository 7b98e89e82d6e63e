"""How subscribers, endpoints and what they ask for look from outside."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import serializers
from rest_framework.validators import UniqueValidator

from subscriptions.api.credentials import AuthenticationField, HeaderNames, Headers
from subscriptions.api.errors import Conflict
from subscriptions.api.fields import EventTypeName, Id, OwnRow, Patterns, PublicKeys, Secret
from subscriptions.encryption import NotDecryptable
from subscriptions.models import Endpoint, EventType, SigningSecret, Subscriber, Subscription
from webhooks.keys import InvalidSecret, Kind
from webhooks.profiles import NO_ED25519, Profile, key_of, signs_with

CREDENTIALS = ["headers", "authentication"]


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

    def __repr__(self) -> str:
        # DRF's shows all that was sent, secrets too.
        return f"<{type(self).__name__}>"


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
    public_keys = PublicKeys(
        help_text="What verifies the Ed25519 signatures; the newest first, two during a rotation."
    )
    headers = Headers(
        required=False,
        write_only=True,
        help_text="Custom headers: 20 at most, of 4 KiB in all. They take the place of those "
        "before. Their values are kept encrypted and never shown again.",
    )
    header_names = HeaderNames(help_text="The names of the custom headers.")
    authentication = AuthenticationField(
        required=False,
        help_text="What deliveries show the endpoint beside their signature. Secrets are kept "
        "encrypted and never shown again.",
    )

    class Meta:
        model = Endpoint
        fields = [
            "id",
            "subscriber",
            "url",
            "description",
            "subscriptions",
            "public_keys",
            "headers",
            "header_names",
            "authentication",
            "signature_profile",
            "state",
            "disabled_reason",
            "created_at",
            "last_success_at",
            "last_failure_at",
            "failing_since",
        ]
        read_only_fields = ["subscriber", "state", "disabled_reason"]

    def validate_signature_profile(self, profile: str) -> str:
        if self.instance is not None:
            self.instance.check_profile(profile)
        return profile

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        if self.instance is not None and "url" in given:
            credentials = {name: given.get(name) for name in CREDENTIALS}
            try:
                self.instance.check_move(given["url"], **credentials)
            except ValidationError as error:
                raise serializers.ValidationError({"url": error.messages}) from error
        return given

    def update(self, endpoint: Endpoint, changes: dict[str, Any]) -> Endpoint:
        patterns = changes.pop("subscriptions", None)
        try:
            endpoint.set_credentials(**{name: changes.pop(name, None) for name in CREDENTIALS})
        except NotDecryptable as error:
            raise Conflict(f"{error} Or send headers and authentication both anew.") from error
        endpoint = super().update(endpoint, changes)
        if patterns is not None:
            endpoint.subscriptions.exclude(pattern__in=patterns).delete()
            _subscribe(endpoint, patterns)
        return endpoint


# Not in a docstring, as above. What a request may say of a new signing secret.
class NewSecret(Strict):
    secret = Secret(
        required=False,
        help_text="The signing secret (whsec_…), shown this once; a new one unless you bring your "
        "own: whsec_… or whsk_…, or for a signature profile other than `standard` any text of 16 "
        "to 255 characters. Null on the way out for Ed25519, whose private key stays here.",
    )
    secret_kind = serializers.ChoiceField(
        list(Kind),
        required=False,
        write_only=True,
        help_text="Of a new secret: `hmac` is shared with the receiver (signatures v1); of an "
        "`ed25519` the receiver has the public key (signatures v1a).",
    )

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        secret, kind = given.get("secret"), given.get("secret_kind")
        profile: str = given.get("signature_profile") or (
            self.instance.signature_profile if self.instance else Profile.STANDARD
        )
        if kind is not None and not signs_with(profile, kind):
            raise serializers.ValidationError({"secret_kind": [NO_ED25519]})
        if secret is None:
            return given
        try:
            key = key_of(profile, secret)
        except InvalidSecret as error:
            raise serializers.ValidationError({"secret": [str(error)]}) from error
        if kind not in (None, key.kind):
            raise serializers.ValidationError({"secret_kind": ["The secret is of another kind."]})
        return given


class NewEndpointSerializer(NewSecret, EndpointSerializer):
    subscriber = OwnRow(owner="pk", queryset=Subscriber.objects.all())

    class Meta(EndpointSerializer.Meta):
        fields = [*EndpointSerializer.Meta.fields, "secret", "secret_kind"]
        read_only_fields = ["state", "disabled_reason"]

    def create(self, given: dict[str, Any]) -> Endpoint:
        patterns = given.pop("subscriptions", [])
        secret, kind = given.pop("secret", None), given.pop("secret_kind", None)
        credentials = {name: given.pop(name, None) for name in CREDENTIALS}
        endpoint = Endpoint(**given)
        endpoint.set_credentials(**credentials)
        endpoint.save()
        _subscribe(endpoint, patterns)
        SigningSecret.objects.issue(endpoint, secret, kind=kind)
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


class SecretSerializer(NewSecret):
    public_key = serializers.CharField(
        read_only=True,
        allow_null=True,
        help_text="What verifies Ed25519 signatures (whpk_…); null for HMAC.",
    )


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
