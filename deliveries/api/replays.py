"""Replays, over HTTP."""

from collections.abc import Callable, Collection
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ReadOnlyModelViewSet

from deliveries import replays
from deliveries.models import Replay
from deliveries.replays import ASKED, COUNT_LIMIT, Count, ReplayUnderWay
from subscriptions.api.errors import Conflict
from subscriptions.api.fields import Id, OwnRow
from subscriptions.api.schema import conflict
from subscriptions.api.serializers import Strict
from subscriptions.api.viewsets import ApiViewSet
from subscriptions.models import ApiKey, Endpoint

Scope = ApiKey.Scope
Change = Callable[[Collection[str]], list[str]]

OUTAGE = {
    "endpoint": "ep_0195f3b2c4d87e10a1b2c3d4e5f60718",
    "pattern": "invoice.*",
    "since": "2026-03-01T08:00:00Z",
    "until": "2026-03-01T12:00:00Z",
    "rate": 20,
}
NEVER_GOT = {"endpoint": OUTAGE["endpoint"], "kind": "missed", "since": "2026-02-01T00:00:00Z"}
EXAMPLES = [
    OpenApiExample(
        "The invoices of a morning, which the receiver has lost", request_only=True, value=OUTAGE
    ),
    OpenApiExample("What a new subscription would have got", request_only=True, value=NEVER_GOT),
]


class ReplaySerializer(serializers.ModelSerializer[Replay]):
    progress = serializers.FloatField(
        read_only=True,
        min_value=0,
        max_value=1,
        help_text="How much of its range it has come by: a share of the time, not of the rows.",
    )
    waits_for = serializers.CharField(
        read_only=True, help_text="What a running one waits for; empty where it goes on."
    )

    class Meta:
        model = Replay
        fields = [
            *["id", "endpoint", *ASKED],
            *["state", "waits_for", "progress", "replayed", "created_at", "ended_at"],
        ]
        read_only_fields = fields


class NewReplaySerializer(Strict, serializers.ModelSerializer[Replay]):
    endpoint = OwnRow(owner="subscriber", queryset=Endpoint.objects.existing())

    class Meta:
        model = Replay
        fields = ["endpoint", *ASKED]
        extra_kwargs = {"until": {"required": False, "allow_null": True}}

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        self.replay = Replay(**given)
        self.replay.clean()
        return given


class ReplayFilters(Strict):
    endpoint = Id("ep", required=False)
    subscriber = Id("sub", required=False, source="endpoint__subscriber")
    state = serializers.ChoiceField(Replay.State.choices, required=False)


class CountedSerializer(serializers.Serializer[Count]):
    count = serializers.IntegerField(help_text="How many would be sent.")
    exact = serializers.BooleanField(
        help_text=f"Whether these are all; at least so many, where not: nobody counts beyond "
        f"{COUNT_LIMIT:,}, or for more than a few seconds."
    )


@extend_schema_view(
    list=extend_schema(
        summary="List the replays", description="Newest first.", parameters=[ReplayFilters]
    ),
    retrieve=extend_schema(summary="Show a replay, and how far it has come"),
)
class ReplayViewSet(ApiViewSet[Replay], ReadOnlyModelViewSet[Replay]):
    """Jobs that send an endpoint again what it was sent, or at last what it never got."""

    queryset = Replay.objects.select_related("endpoint")
    owner = "endpoint__subscriber"
    scopes = {
        "list": Scope.READ,
        "retrieve": Scope.READ,
        "create": Scope.MANAGE,
        "dry_run": Scope.READ,
        "pause": Scope.MANAGE,
        "resume": Scope.MANAGE,
        "cancel": Scope.MANAGE,
    }
    filter_class = ReplayFilters

    def get_serializer_class(self) -> type[BaseSerializer[Replay]]:
        asks = self.action in ("create", "dry_run")
        return NewReplaySerializer if asks else ReplaySerializer

    @extend_schema(
        summary="Start a replay",
        description="With `kind` `again` the deliveries that have ended are sent once more; with "
        "`missed` the events that the endpoint has no delivery of, and that its subscriptions ask "
        "for as they are now. Each keeps its `webhook-id`. While the endpoint is not active the "
        "replay waits. An endpoint has one replay at a time.",
        request=NewReplaySerializer,
        responses={
            201: ReplaySerializer,
            409: conflict("The endpoint has a replay under way."),
        },
        examples=EXAMPLES,
    )
    def create(self, request: Request) -> Response:
        replay = self._asked(request)
        try:
            replays.start(replay)
        except ReplayUnderWay as error:
            raise Conflict(str(error)) from error
        return Response(ReplaySerializer(replay).data, status=201)

    @extend_schema(
        summary="Count what a replay would send",
        description="Nothing is sent, and nothing kept.",
        request=NewReplaySerializer,
        responses={200: OpenApiResponse(CountedSerializer)},
        examples=EXAMPLES,
    )
    @action(detail=False, methods=["post"], url_path="dry-run")
    def dry_run(self, request: Request) -> Response:
        return Response(CountedSerializer(replays.count(self._asked(request))).data)

    @extend_schema(
        summary="Pause a replay",
        description="Nothing more is sent until it is resumed.",
        request=None,
        responses={200: ReplaySerializer, 409: conflict("It is not running.")},
    )
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        return self._changed(request, replays.pause)

    @extend_schema(
        summary="Resume a replay",
        description="It goes on where it was.",
        request=None,
        responses={200: ReplaySerializer, 409: conflict("It is not paused.")},
    )
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        return self._changed(request, replays.resume)

    @extend_schema(
        summary="Cancel a replay",
        description="For good. What it has put on its way is delivered.",
        request=None,
        responses={200: ReplaySerializer, 409: conflict("It has ended.")},
    )
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        return self._changed(request, replays.cancel)

    def _asked(self, request: Request) -> Replay:
        given = NewReplaySerializer(data=request.data, context=self.get_serializer_context())
        given.is_valid(raise_exception=True)
        return given.replay

    def _changed(self, request: Request, change: Change) -> Response:
        replay = self.get_object()
        if not change([replay.pk]):
            replay.refresh_from_db()
            raise Conflict(f"This replay is {replay.state}.")
        return self.retrieve(request)
