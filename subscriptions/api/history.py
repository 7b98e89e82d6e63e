"""Who changed what, over HTTP."""

from typing import Any

from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef, Q, QuerySet, Value
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.viewsets import ReadOnlyModelViewSet

from subscriptions.api.fields import Id
from subscriptions.api.serializers import Strict
from subscriptions.api.viewsets import ApiViewSet
from subscriptions.attribution import ActorKind
from subscriptions.history import HistoryEntry
from subscriptions.models import ApiKey

Scope = ApiKey.Scope


class ActorSerializer(serializers.Serializer[HistoryEntry]):
    kind = serializers.ChoiceField(ActorKind.choices, source="actor_kind")
    id = serializers.CharField(source="actor_id", help_text="Of an API key its prefix.")
    name = serializers.CharField(source="actor_name")
    ip_address = serializers.CharField()


class HistoryEntrySerializer(serializers.ModelSerializer[HistoryEntry]):
    actor = ActorSerializer(
        source="*",
        help_text="Whose change it was. A key that is bound to a subscriber is told no more than "
        "the kind of those whom it does not know.",
    )
    changes = serializers.DictField(
        child=serializers.ListField(allow_null=True),
        help_text="By column: what it was and what it became, or null where neither is ever told.",
    )

    class Meta:
        model = HistoryEntry
        fields = [
            *["id", "at", "actor", "request_id", "action", "kind", "object_id", "name", "count"],
            *["endpoint", "subscriber", "changes"],
        ]

    def to_representation(self, entry: Any) -> dict[str, Any]:
        if not entry.actor_known:
            entry.actor_id = entry.actor_name = entry.ip_address = entry.request_id = ""
        return super().to_representation(entry)


class HistoryFilters(Strict):
    kind = serializers.ChoiceField(HistoryEntry.Kind.choices, required=False)
    object_id = serializers.CharField(required=False)
    action = serializers.ChoiceField(HistoryEntry.Action.choices, required=False)
    actor_kind = serializers.ChoiceField(ActorKind.choices, required=False)
    endpoint = Id("ep", required=False)
    subscriber = Id("sub", required=False)


@extend_schema_view(
    list=extend_schema(
        summary="List who changed what", description="Newest first.", parameters=[HistoryFilters]
    ),
    retrieve=extend_schema(summary="Show one entry of the history"),
)
class HistoryViewSet(ApiViewSet[HistoryEntry], ReadOnlyModelViewSet[HistoryEntry]):
    """Every change, whoever made it: people, API keys, commands, and Angarium itself."""

    queryset = HistoryEntry.objects.annotate(actor_known=Value(True, BooleanField()))
    scopes = {"list": Scope.READ, "retrieve": Scope.READ}
    serializer_class = HistoryEntrySerializer
    filter_class = HistoryFilters

    def of_subscriber(
        self, rows: QuerySet[HistoryEntry], subscriber: str
    ) -> QuerySet[HistoryEntry]:
        own_keys = ApiKey.objects.filter(subscriber=subscriber, prefix=OuterRef("actor_id"))
        known = Q(Exists(own_keys), actor_kind=ActorKind.API_KEY) | Q(
            actor_kind=ActorKind.PORTAL, actor_id=subscriber
        )
        return rows.filter(subscriber=subscriber).annotate(
            actor_known=ExpressionWrapper(known, BooleanField())
        )
