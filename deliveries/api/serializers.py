"""How events, deliveries and dead letters look from outside."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.reverse import reverse

from deliveries.api.visibility import listed_deliveries_of
from deliveries.emit import MAX_KEY
from deliveries.models import Attempt, DeadLetter, DeadLetterJob, Delivery, Event
from deliveries.trying import LATEST, VALUE_SHOWN, Trial
from subscriptions.api.access import subscriber_of, visible
from subscriptions.api.fields import Channels, EventTypeName, Id, OwnRow
from subscriptions.api.serializers import Strict, WishSerializer
from subscriptions.explaining import Reason
from subscriptions.models import Subscriber

SHOWN = 100
"""So many deliveries of an event, and attempts at a delivery, are shown with it."""

BULK = 1000
"""So many dead letters may be named one by one."""

OPEN = "open"
"""The resolution of a dead letter that has none."""
ANY = "any"


class EventSerializer(serializers.ModelSerializer[Event]):
    channels = Channels(read_only=True)

    class Meta:
        model = Event
        fields = [
            "id",
            "type",
            "subscriber",
            "channels",
            "occurred_at",
            "created_at",
            "idempotency_key",
            "ordering_key",
            "delivery_count",
            "fanned_out_at",
        ]
        read_only_fields = fields

    def to_representation(self, event: Event) -> dict[str, Any]:
        shown = super().to_representation(event)
        own = getattr(event, "own_delivery_count", None)
        if own is not None and event.subscriber_id is None:
            # One subscriber's view of an event for everybody: the rest of it is the producer's.
            shown.update(delivery_count=own, idempotency_key=None, ordering_key=None)
        return shown


class DeliveryOfEventSerializer(serializers.ModelSerializer[Delivery]):
    class Meta:
        model = Delivery
        fields = ["id", "endpoint", "state"]
        read_only_fields = fields


class EventDetailSerializer(EventSerializer):
    data = serializers.JSONField(read_only=True)  # type: ignore[assignment]
    deliveries = serializers.SerializerMethodField(help_text=f"The newest {SHOWN}.")
    deliveries_url = serializers.SerializerMethodField(help_text="The list of all of them.")

    class Meta(EventSerializer.Meta):
        fields = [*EventSerializer.Meta.fields, "data", "deliveries", "deliveries_url"]
        read_only_fields = fields

    @extend_schema_field(DeliveryOfEventSerializer(many=True))
    def get_deliveries(self, event: Event) -> Any:
        deliveries = visible(
            event.deliveries.all(), self.context["request"], "endpoint__subscriber"
        )
        return DeliveryOfEventSerializer(deliveries[:SHOWN], many=True).data

    @extend_schema_field(OpenApiTypes.URI)
    def get_deliveries_url(self, event: Event) -> str:
        request = self.context["request"]
        return reverse("delivery-list", request=request, query={"event": event.pk})


class NewEventSerializer(Strict):
    type = EventTypeName()
    data = serializers.JSONField(  # type: ignore[assignment]
        allow_null=True, help_text="Any JSON; it is sent as it is."
    )
    subscriber = OwnRow(
        owner="pk",
        queryset=Subscriber.objects.staying(),
        allow_null=True,
        default=None,
        help_text="Whose endpoints get it; everybody's that asked for such events, if left out. "
        "A key that is bound to a subscriber emits for that one.",
    )
    ordering_key = serializers.CharField(
        max_length=MAX_KEY,
        trim_whitespace=False,
        allow_null=True,
        default=None,
        help_text="Events that share it arrive one after another, in order, at endpoints that ask "
        "for that.",
    )
    channels = Channels(
        required=False,
        help_text="Labels of the event, ten at most. A subscription that asks for channels gets "
        "only events that have one of them.",
    )
    occurred_at = serializers.DateTimeField(default=None, help_text="Now, if left out.")

    def validate_subscriber(self, subscriber: Subscriber | None) -> Subscriber | str | None:
        return subscriber or subscriber_of(self.context["request"])


class ExampleEventSerializer(Strict):
    type = EventTypeName()
    data = serializers.JSONField(allow_null=True)  # type: ignore[assignment]
    channels = Channels(required=False)


class TrySerializer(WishSerializer):
    event = ExampleEventSerializer(
        required=False, help_text=f"An example; the last {LATEST} events, if left out."
    )
    subscriber = OwnRow(
        owner="pk",
        queryset=Subscriber.objects.all(),
        allow_null=True,
        default=None,
        help_text="Whose last events, and those for everybody, are meant; all, if left out.",
    )

    class Meta(WishSerializer.Meta):
        fields = [*WishSerializer.Meta.fields, "event", "subscriber"]


class TrialSerializer(serializers.Serializer[Trial]):
    event = Id("evt", allow_null=True, help_text="Null for an example.")
    type = serializers.CharField(source="occurrence.type")
    channels = serializers.ListField(child=serializers.CharField(), source="occurrence.channels")
    matched = serializers.BooleanField(source="explanation.matched")
    decided_by = serializers.ChoiceField(list(Reason), source="explanation.reason")
    explanation = serializers.CharField(source="explanation.sentence")
    evaluates_to = serializers.CharField(
        allow_null=True,
        help_text=f"What the filter makes of the data, as JSON, of which {VALUE_SHOWN} characters "
        "are shown; null where it was not asked, or has no value.",
    )
    filter_error = serializers.CharField(help_text="Why it has no value.")


class TrialsSerializer(serializers.Serializer[Any]):
    results = TrialSerializer(many=True)


class EventFilters(Strict):
    type = EventTypeName(required=False)
    subscriber = Id("sub", required=False)


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    event_type = serializers.CharField(source="event.type", read_only=True)

    class Meta:
        model = Delivery
        fields = [
            "id",
            "event",
            "event_type",
            "endpoint",
            "state",
            "lead",
            "batch_size",
            "attempt_number",
            "created_at",
            "next_attempt_at",
            "ended_at",
        ]
        read_only_fields = fields


class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    class Meta:
        model = Attempt
        fields = [
            "number",
            "outcome",
            "status",
            "duration_ms",
            "dns_ms",
            "connect_ms",
            "tls_ms",
            "first_byte_ms",
            "error",
            "response_body",
            "response_headers",
            "ended_at",
        ]
        read_only_fields = fields


class DeliveryDetailSerializer(DeliverySerializer):
    attempts = serializers.SerializerMethodField(
        help_text=f"The newest {SHOWN}, newest first; those of its lead, if it is in a batch."
    )

    class Meta(DeliverySerializer.Meta):
        fields = [*DeliverySerializer.Meta.fields, "attempts"]
        read_only_fields = fields

    @extend_schema_field(AttemptSerializer(many=True))
    def get_attempts(self, delivery: Delivery) -> Any:
        newest = delivery.its_attempts.order_by("-number")[:SHOWN]
        return AttemptSerializer(newest, many=True).data


class DeliveryFilters(Strict):
    event = Id("evt", required=False)
    endpoint = Id("ep", required=False)
    subscriber = Id("sub", required=False, source="endpoint__subscriber")
    state = serializers.ChoiceField(Delivery.State.choices, required=False)

    def validate(self, filters: dict[str, Any]) -> dict[str, Any]:
        subscriber = filters.pop("endpoint__subscriber", None)
        return filters if subscriber is None else {**filters, **listed_deliveries_of(subscriber)}


class DeadLetterSerializer(serializers.ModelSerializer[DeadLetter]):
    event = Id("evt", source="delivery.event_id", read_only=True)
    resolution = serializers.SerializerMethodField()

    class Meta:
        model = DeadLetter
        fields = [
            "id",
            "delivery",
            "event",
            "event_type",
            "endpoint",
            "subscriber",
            "reason",
            "last_error",
            "died_at",
            "resolution",
            "resolved_at",
        ]
        read_only_fields = fields

    @extend_schema_field(serializers.ChoiceField([OPEN, *DeadLetter.Resolution.values]))
    def get_resolution(self, letter: DeadLetter) -> str:
        return letter.resolution or OPEN


class DeadLetterCriteria(Strict):
    """What dead letters may have in common."""

    endpoint = Id("ep", required=False)
    subscriber = Id("sub", required=False)
    event_type = EventTypeName(required=False)
    reason = serializers.ChoiceField(DeadLetter.Reason.choices, required=False)
    died_after = serializers.DateTimeField(
        required=False, source="died_at__gte", help_text="Those that died then or later."
    )
    died_before = serializers.DateTimeField(
        required=False, source="died_at__lt", help_text="Those that had died before then."
    )


class DeadLetterFilters(DeadLetterCriteria):
    resolution = serializers.ChoiceField([OPEN, *DeadLetter.Resolution.values, ANY], default=OPEN)

    def validate(self, filters: dict[str, Any]) -> dict[str, Any]:
        resolution = filters.pop("resolution")
        if resolution == ANY:
            return filters
        return {**filters, "resolution": "" if resolution == OPEN else resolution}


class DeadLetterExportFilters(DeadLetterFilters):
    format = serializers.ChoiceField(["ndjson", "csv"], default="ndjson")


class DeadLetterSelectionSerializer(DeadLetterCriteria):
    """Which open dead letters are meant: those that have all that is said."""

    ids = serializers.ListField(
        child=Id("dead"), allow_empty=False, max_length=BULK, required=False, source="id__in"
    )
    dry_run = serializers.BooleanField(
        default=False, help_text="Count them, and change nothing.", write_only=True
    )

    def validate(self, selection: dict[str, Any]) -> dict[str, Any]:
        if not set(selection) - {"dry_run"}:
            raise serializers.ValidationError(
                "Say which are meant: by endpoint, subscriber, event_type, reason, died_after, "
                "died_before or ids."
            )
        return selection


class DeadLetterJobSerializer(serializers.ModelSerializer[DeadLetterJob]):
    id = Id("job", allow_null=True, read_only=True, help_text="Null for a dry run.")

    class Meta:
        model = DeadLetterJob
        fields = ["id", "action", "matched", "changed", "asked_at", "ended_at"]
        read_only_fields = fields
        extra_kwargs = {
            "asked_at": {"allow_null": True},
            "ended_at": {"help_text": "Null while there is more to be done."},
        }
