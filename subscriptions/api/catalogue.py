"""The catalogue of event types as one document, over HTTP."""

from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from subscriptions import catalogue_file
from subscriptions.api.errors import Conflict
from subscriptions.api.fields import JsonObject
from subscriptions.api.schema import conflict
from subscriptions.api.serializers import Strict, shown_change
from subscriptions.api.viewsets import ApiViewSet
from subscriptions.models import ApiKey, EventType
from subscriptions.schema_changes import Verdict

EXAMPLE = {
    "version": 1,
    "event_types": [{"name": "invoice.paid", "group": "Billing", "schema": {"type": "object"}}],
}


class CatalogueSerializer(serializers.Serializer[Any]):
    version = serializers.IntegerField(help_text="Of the document's structure.")
    event_types = serializers.ListField(
        child=JsonObject(), help_text="In alphabetical order; as in the API, without `created_at`."
    )


class ImportSerializer(Strict):
    catalogue = JsonObject(help_text="As it was exported.")
    dry_run = serializers.BooleanField(
        default=False, help_text="Tell what would be done, and do nothing."
    )
    accept_breaking = serializers.BooleanField(
        default=False, help_text="Take schemas that break what subscribers were promised."
    )
    archive_missing = serializers.BooleanField(
        default=False, help_text="Archive the event types that the document does not name."
    )


class BreakingChangeSerializer(serializers.Serializer[Any]):
    event_type = serializers.CharField()
    path = serializers.CharField(help_text="Where in the data, as in $.lines[*].price.")
    verdict = serializers.ChoiceField(list(Verdict))
    reason = serializers.CharField()


class ReportSerializer(serializers.Serializer[Any]):
    made = serializers.ListField(child=serializers.CharField())
    changed = serializers.ListField(child=serializers.CharField())
    left = serializers.ListField(
        child=serializers.CharField(), help_text="Those that were as the document has them."
    )
    archived = serializers.ListField(child=serializers.CharField())
    breaking = BreakingChangeSerializer(many=True)


class CatalogueViewSet(ApiViewSet[EventType]):
    """The catalogue as one document: to keep it beside the code, or bring it elsewhere."""

    queryset = EventType.objects.all()
    scopes = {"export": ApiKey.Scope.READ, "import_document": ApiKey.Scope.MANAGE}
    unbound_only = frozenset(scopes)
    serializer_class = CatalogueSerializer
    filter_backends = []

    @extend_schema(summary="Export the catalogue", responses={200: CatalogueSerializer})
    @action(detail=False)
    def export(self, request: Request) -> Response:
        return Response(catalogue_file.export())

    @extend_schema(
        summary="Import a catalogue",
        description="Event types that are new are made, those that differ are changed, and those "
        "that the document does not name stay. All of it is done, or nothing.",
        request=ImportSerializer,
        responses={
            200: OpenApiResponse(ReportSerializer, "What was done."),
            409: conflict("Schemas would break what subscribers were promised."),
        },
        examples=[
            OpenApiExample(
                "To see what would be done",
                request_only=True,
                value={"catalogue": EXAMPLE, "dry_run": True},
            )
        ],
    )
    @action(detail=False, methods=["post"], url_path="import")
    def import_document(self, request: Request) -> Response:
        given = ImportSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        options = given.validated_data
        try:
            report = catalogue_file.import_catalogue(options.pop("catalogue"), **options)
        except catalogue_file.InvalidCatalogue as error:
            raise serializers.ValidationError({"catalogue": [str(error)]}) from error
        except catalogue_file.BreakingImport as error:
            raise Conflict({"detail": str(error), **_shown(error.report)}) from error
        return Response(_shown(report))


def _shown(report: catalogue_file.Report) -> dict[str, Any]:
    breaking = [shown_change(name, change) for name, change in report.breaking]
    return {**asdict(report), "breaking": breaking}
