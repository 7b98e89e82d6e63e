"""How subscribers, endpoints and what they ask for look from outside."""

from collections.abc import Mapping
from copy import copy
from dataclasses import asdict
from typing import Any

from django.core.exceptions import ValidationError
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.validators import UniqueValidator

from subscriptions.api.credentials import AuthenticationField, HeaderNames, Headers
from subscriptions.api.errors import Conflict
from subscriptions.api.fields import (
    Channels,
    EventTypeName,
    Filter,
    Id,
    JsonObject,
    OwnRow,
    PublicKeys,
    Secret,
    Warnings,
)
from subscriptions.conf import SubscriptionSettings, part
from subscriptions.encryption import NotDecryptable
from subscriptions.models import (
    Endpoint,
    EventType,
    Feed,
    Handshake,
    SigningSecret,
    Subscriber,
    Subscription,
    check_offered,
)
from subscriptions.schema_changes import Change, breaking_changes
from webhooks.keys import InvalidSecret, Kind
from webhooks.profiles import NO_ED25519, Profile, key_of, signs_with

CREDENTIALS = ["headers", "authentication"]
SHAPE = [
    *["format", "payload", "projection", "gzip_above", "send_traceparent"],
    *["batch_events", "batch_seconds", "batch_bytes", "ordered"],
]
PACE = ["rate", "burst"]
HEALTH = [
    *["last_success_at", "last_failure_at", "failing_since", "failure_warning"],
    *["circuit", "circuit_opened_at", "openings", "probe_at"],
]
NOT_SET = ["state", "disabled_reason", *HEALTH]
MAX_WISHES = 100
"""So many subscriptions can be named together with their endpoint."""


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
    schema = JsonObject(
        required=False,
        allow_null=True,
        help_text="What the data is like: a JSON Schema, draft 2020-12, of 64 KiB at most.",
    )
    example = serializers.JSONField(
        required=False,
        allow_null=True,
        help_text="What the data may look like; it must satisfy the schema.",
    )
    accept_breaking = serializers.BooleanField(
        required=False,
        write_only=True,
        help_text="Take a schema that breaks what subscribers were promised.",
    )

    class Meta:
        model = EventType
        fields = [
            "name",
            "group",
            "description",
            "archived",
            "feature_flag",
            "schema",
            "schema_check",
            "example",
            "created_at",
            "accept_breaking",
        ]
        read_only_fields = ["name", "created_at"]

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        self.accepted = given.pop("accept_breaking", False)
        wanted = EventType() if self.instance is None else copy(self.instance)
        for name, value in given.items():
            setattr(wanted, name, value)
        wanted.clean()
        return given

    def update(self, event_type: EventType, changes: dict[str, Any]) -> EventType:
        breaking = breaking_changes(event_type.schema, changes.get("schema", event_type.schema))
        if breaking and not self.accepted:
            raise Conflict(
                {
                    "detail": "This would break what subscribers were promised: keep to it, or "
                    "send accept_breaking.",
                    "breaking": [shown_change(event_type.name, change) for change in breaking],
                }
            )
        return super().update(event_type, changes)


def shown_change(name: str, change: Change) -> dict[str, str]:
    """What a change of a schema breaks, as the API tells it."""
    return {"event_type": name, **asdict(change)}


class NewEventTypeSerializer(EventTypeSerializer):
    name = EventTypeName(validators=[UniqueValidator(EventType.objects.all())])


class EventTypeFilters(Strict):
    archived = serializers.BooleanField(required=False)


class SubscriberSerializer(Strict, serializers.ModelSerializer[Subscriber]):
    class Meta:
        model = Subscriber
        fields = ["id", "name", "external_id", "feature_flags", "operator", "created_at"]


class SubscriberFilters(Strict):
    external_id = serializers.CharField(required=False)


class HandshakeSerializer(serializers.ModelSerializer[Handshake]):
    class Meta:
        model = Handshake
        fields = [
            "required_at",
            "tries",
            "tried_at",
            "outcome",
            "status",
            "error",
            "response_body",
            "due_at",
            "verified_at",
        ]
        read_only_fields = fields


# Not in a docstring, as above. What is asked for, whoever asks for it.
class WishSerializer(Strict, serializers.ModelSerializer[Subscription]):
    channels = Channels(
        required=False,
        help_text="Only events on one of these channels, ten at most; all, where empty.",
    )
    filter = Filter(
        required=False,
        help_text="Only events whose data makes this [JMESPath](https://jmespath.org) expression "
        "true; all, where empty. Null, false, and what is empty are not true. 1024 bytes at most.",
    )

    class Meta:
        model = Subscription
        fields = ["pattern", "channels", "filter"]
        # What is said twice, those who know the endpoint tell.
        validators: list[Any] = []


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "description": "The pattern alone."},
            {
                "type": "object",
                "properties": {
                    "pattern": {"type": "string"},
                    "channels": {"type": "array", "items": {"type": "string"}},
                    "filter": {"type": "string"},
                },
                "required": ["pattern"],
                "additionalProperties": False,
            },
        ]
    }
)
class Wish(serializers.Field):  # type: ignore[type-arg]
    """What one subscription asks for: a pattern, or an object where there is more to say."""

    def to_internal_value(self, given: Any) -> Any:
        wish = WishSerializer(data={"pattern": given} if isinstance(given, str) else given)
        wish.is_valid(raise_exception=True)
        return wish.validated_data

    def to_representation(self, subscription: Subscription) -> Any:
        if not subscription.channels and not subscription.filter:
            return subscription.pattern
        return WishSerializer(subscription).data


class Wishes(serializers.ListField):
    """What an endpoint's subscriptions ask for, those that are switched off left out."""

    child = Wish()

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=MAX_WISHES, **options)

    def get_attribute(self, endpoint: Endpoint) -> list[Subscription]:
        return [one for one in endpoint.subscriptions.all() if one.enabled]


class EndpointSerializer(Strict, serializers.ModelSerializer[Endpoint]):
    subscriptions = Wishes(
        required=False,
        help_text="Event types (invoice.paid), all below one (invoice.*), or all (*); as an object "
        "with channels or a filter beside the pattern. A list takes the place of the one before.",
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

    handshake = HandshakeSerializer(
        read_only=True,
        allow_null=True,
        default=None,
        help_text="How it goes with the challenge that the endpoint has to answer; null where it "
        "need not. The last try is shown.",
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
            *PACE,
            *SHAPE,
            "state",
            "disabled_reason",
            "handshake",
            "created_at",
            *HEALTH,
        ]
        read_only_fields = ["subscriber", *NOT_SET]
        # A space or a line end around it is refused like one within it.
        extra_kwargs = {"url": {"trim_whitespace": False}}

    def validate_signature_profile(self, profile: str) -> str:
        if self.instance is not None:
            self.instance.check_profile(profile)
        return profile

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        if self.instance is not None and self.instance.is_feed:
            _check_feed(given)
        elif self.instance is not None and "url" in given:
            credentials = {name: given.get(name) for name in CREDENTIALS}
            try:
                self.instance.check_move(given["url"], **credentials)
            except ValidationError as error:
                raise serializers.ValidationError({"url": error.messages}) from error
        wanted = Endpoint() if self.instance is None else copy(self.instance)
        for name in (*SHAPE, *PACE):
            if name in given:
                setattr(wanted, name, given[name])
        wanted.clean()
        return given

    def update(self, endpoint: Endpoint, changes: dict[str, Any]) -> Endpoint:
        wishes = changes.pop("subscriptions", None)
        try:
            endpoint.set_credentials(**{name: changes.pop(name, None) for name in CREDENTIALS})
        except NotDecryptable as error:
            raise Conflict(f"{error} Or send headers and authentication both anew.") from error
        before = endpoint.url
        endpoint = super().update(endpoint, changes)
        endpoint.note_move(before)
        if wishes is not None:
            _subscribe(endpoint, wishes)
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
        if secret is not None:
            try:
                key = key_of(profile, secret)
            except InvalidSecret as error:
                raise serializers.ValidationError({"secret": [str(error)]}) from error
            if kind not in (None, key.kind):
                raise serializers.ValidationError(
                    {"secret_kind": ["The secret is of another kind."]}
                )
        return super().validate(given)  # type: ignore[no-any-return]


class ChangedEndpointSerializer(EndpointSerializer):
    warnings = Warnings(help_text="What may not be meant: another endpoint with the same URL.")

    class Meta(EndpointSerializer.Meta):
        fields = [*EndpointSerializer.Meta.fields, "warnings"]


class NewEndpointSerializer(NewSecret, ChangedEndpointSerializer):
    subscriber = OwnRow(owner="pk", queryset=Subscriber.objects.staying())
    feed = serializers.BooleanField(
        default=False,
        write_only=True,
        help_text="Instead of a URL: the subscriber fetches its events from "
        "`/subscribers/{id}/feed/`. A subscriber has one feed at most.",
    )
    require_handshake = serializers.BooleanField(
        required=False,
        write_only=True,
        help_text="Send nothing before the endpoint has repeated a challenge.",
    )

    class Meta(EndpointSerializer.Meta):
        fields = [
            *ChangedEndpointSerializer.Meta.fields,
            *["feed", "require_handshake", "secret", "secret_kind"],
        ]
        read_only_fields = NOT_SET
        extra_kwargs = {"url": {"required": False, "trim_whitespace": False}}

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        given = super().validate(given)
        if given["feed"]:
            _check_feed(given)
            if Endpoint.objects.filter(
                subscriber=given["subscriber"], state=Endpoint.State.FEED
            ).exists():
                raise serializers.ValidationError(
                    {"feed": ["The subscriber has a feed already: add subscriptions to that."]}
                )
        elif "url" not in given:
            raise serializers.ValidationError(
                {"url": [self.fields["url"].error_messages["required"]]}
            )
        if part(SubscriptionSettings).require_handshake:
            if given.get("require_handshake") is False:
                raise serializers.ValidationError(
                    {"require_handshake": ["Here every endpoint has to answer a challenge."]}
                )
            given["require_handshake"] = True
        return given

    def create(self, given: dict[str, Any]) -> Endpoint:
        if given.pop("feed"):
            return self._create_feed(given)
        handshake = given.pop("require_handshake", False)
        wishes = given.pop("subscriptions", [])
        secret, kind = given.pop("secret", None), given.pop("secret_kind", None)
        credentials = {name: given.pop(name, None) for name in CREDENTIALS}
        endpoint = Endpoint(**given)
        endpoint.set_credentials(**credentials)
        endpoint.save()
        _subscribe(endpoint, wishes)
        SigningSecret.objects.issue(endpoint, secret, kind=kind)
        if handshake:
            endpoint.require_handshake()
        return endpoint

    def _create_feed(self, given: dict[str, Any]) -> Endpoint:
        endpoint = Feed.objects.open(given["subscriber"], given.get("description", ""))
        _subscribe(endpoint, given.get("subscriptions", []))
        return endpoint


def _check_feed(given: Mapping[str, Any]) -> None:
    refused = set(given) - {"subscriber", "description", "subscriptions", "feed"}
    if refused:
        raise serializers.ValidationError(
            {name: ["A feed has none: it is fetched."] for name in refused}
        )


def _subscribe(endpoint: Endpoint, wishes: list[dict[str, Any]]) -> None:
    """Let the endpoint ask for this, and nothing else."""
    asked = [Subscription(endpoint=endpoint, **wish) for wish in wishes]
    there = {one.wish: one.pk for one in Subscription.objects.filter(endpoint=endpoint)}
    kept = [there[one.wish] for one in asked if one.wish in there]
    endpoint.subscriptions.exclude(pk__in=kept).delete()
    endpoint.subscriptions.filter(pk__in=kept).update(enabled=True)
    new = {one.wish: one for one in asked if one.wish not in there}
    try:
        check_offered([one.pattern for one in new.values()], endpoint.subscriber)
    except ValidationError as error:
        raise serializers.ValidationError({"subscriptions": error.messages}) from error
    Subscription.objects.bulk_create(new.values(), ignore_conflicts=True)


class EndpointFilters(Strict):
    subscriber = Id("sub", required=False)
    state = serializers.ChoiceField(
        [state for state in Endpoint.State.values if state != Endpoint.State.DELETED],
        required=False,
    )
    circuit = serializers.ChoiceField(Endpoint.Circuit.choices, required=False)


class SecretSerializer(NewSecret):
    public_key = serializers.CharField(
        read_only=True,
        allow_null=True,
        help_text="What verifies Ed25519 signatures (whpk_…); null for HMAC.",
    )


class SubscriptionSerializer(WishSerializer):
    class Meta(WishSerializer.Meta):
        fields = [
            *["id", "endpoint", "pattern", "channels", "filter", "enabled", "created_at"],
            *["filter_failures", "filter_failed_at", "filter_error"],
        ]
        read_only_fields = ["endpoint", "pattern"]

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        asking = Subscription() if self.instance is None else copy(self.instance)
        for name, value in given.items():
            setattr(asking, name, value)
        asking.clean()
        return given

    def update(self, subscription: Subscription, changes: dict[str, Any]) -> Subscription:
        if changes.get("filter", subscription.filter) != subscription.filter:
            subscription.forget_failures()
        return super().update(subscription, changes)


class NewSubscriptionSerializer(SubscriptionSerializer):
    endpoint = OwnRow(owner="subscriber", queryset=Endpoint.objects.existing())

    class Meta(SubscriptionSerializer.Meta):
        read_only_fields: list[str] = []


class SubscriptionFilters(Strict):
    endpoint = Id("ep", required=False)
    enabled = serializers.BooleanField(required=False)
