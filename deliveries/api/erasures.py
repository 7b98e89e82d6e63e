"""A subscriber taken out whole, or for good, over HTTP."""

from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from deliveries import erasing, subscriber_export
from deliveries.api.streaming import NoNegotiation
from deliveries.exporting import download
from deliveries.models import Erasure
from subscriptions.api.errors import Conflict
from subscriptions.api.fields import Id
from subscriptions.api.schema import conflict
from subscriptions.api.serializers import Strict
from subscriptions.api.viewsets import ApiViewSet
from subscriptions.models import ApiKey, Subscriber

Scope = ApiKey.Scope


class ConfirmSerializer(Strict):
    confirm = Id("sub", help_text="The subscriber's id again: this cannot be undone.")


class ErasureSerializer(serializers.ModelSerializer[Erasure]):
    subscriber = Id("sub", read_only=True)

    class Meta:
        model = Erasure
        fields = ["id", "subscriber", "deliveries", "events", "asked_at", "ended_at"]
        read_only_fields = fields
        extra_kwargs = {"ended_at": {"help_text": "Null while there is more to be done."}}


class ErasureFilters(Strict):
    subscriber = Id("sub", required=False)


class WholeSubscriberViewSet(ApiViewSet[Any]):
    """All that is on record of a subscriber."""

    queryset = Subscriber.objects.all()
    owner = "pk"
    scopes = {"export": Scope.READ, "erase": Scope.MANAGE}
    unbound_only = frozenset({"erase"})
    serializer_class = ErasureSerializer

    @extend_schema(
        summary="Export a subscriber",
        description="Everything that is its own, a JSON object a line, which says as `record` what "
        "it is: the subscriber, its API keys, endpoints, signing secrets (without the secrets), "
        "subscriptions, handshakes and feed, its events and those for everybody that were on "
        "their way to it, its deliveries, attempts and dead letters, and its history.",
        responses={(200, "application/x-ndjson"): str},
    )
    @action(detail=True, content_negotiation_class=NoNegotiation)
    def export(self, request: Request, pk: str) -> StreamingHttpResponse:
        subscriber = self.get_object()
        lines = subscriber_export.export(subscriber.pk)
        return download(lines, f"{subscriber.pk}.ndjson", "application/x-ndjson")

    @extend_schema(
        summary="Erase a subscriber with all that is its own",
        description="Its API keys and endpoints end at once; its deliveries, of events for "
        "everybody too, and its events go soon after, which `erasures/` tells of. In the history "
        "one entry stays, without a name.",
        request=ConfirmSerializer,
        responses={202: ErasureSerializer, 409: conflict("It is being erased already.")},
        examples=[
            OpenApiExample(
                "With its id, so that it is no mistake",
                request_only=True,
                value={"confirm": "sub_019b1f5e6c2a7d10a3c4e5f60718293a"},
            )
        ],
    )
    @action(detail=True, methods=["post"])
    def erase(self, request: Request, pk: str) -> Response:
        subscriber = self.get_object()
        given = ConfirmSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        if given.validated_data["confirm"] != subscriber.pk:
            raise ValidationError({"confirm": [f"To erase it, write {subscriber.pk} here."]})
        try:
            erasure = erasing.begin(subscriber.pk)
        except erasing.BeingErased as error:
            raise Conflict(str(error)) from error
        return Response(ErasureSerializer(erasure).data, status=202)


@extend_schema_view(
    list=extend_schema(summary="List the erasures", parameters=[ErasureFilters]),
    retrieve=extend_schema(summary="Show how far an erasure has come"),
)
class ErasureViewSet(ApiViewSet[Erasure], ReadOnlyModelViewSet[Erasure]):
    """The subscribers that were erased, or are being erased."""

    queryset = Erasure.objects.all()
    owner = "subscriber"
    scopes = {"list": Scope.READ, "retrieve": Scope.READ}
    serializer_class = ErasureSerializer
    filter_class = ErasureFilters
