"""Events, deliveries and dead letters, over HTTP."""

from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
)
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ReadOnlyModelViewSet

from deliveries import dead_letter_export, dead_letters, operations, tracing
from deliveries.api.serializers import (
    DeadLetterExportFilters,
    DeadLetterFilters,
    DeadLetterJobSerializer,
    DeadLetterSelectionSerializer,
    DeadLetterSerializer,
    DeliveryDetailSerializer,
    DeliveryFilters,
    DeliverySerializer,
    EventDetailSerializer,
    EventFilters,
    EventSerializer,
    NewEventSerializer,
    TrialsSerializer,
    TrySerializer,
)
from deliveries.api.streaming import NoNegotiation
from deliveries.api.visibility import events_of, listed_deliveries_of, listed_events_of
from deliveries.emit import IdempotencyConflict, InvalidEvent, emit
from deliveries.exporting import download
from deliveries.lifecycle import FINAL
from deliveries.models import DeadLetter, DeadLetterJob, Delivery, Event
from deliveries.trying import latest, try_on_events, try_on_example
from subscriptions.api.access import subscriber_of
from subscriptions.api.errors import Conflict, Unprocessable
from subscriptions.api.schema import FIELDS, conflict
from subscriptions.api.serializers import Strict
from subscriptions.api.viewsets import ApiViewSet
from subscriptions.event_types import UnknownEventType
from subscriptions.explaining import Occurrence
from subscriptions.ids import to_uuid
from subscriptions.models import ApiKey, Subscription
from webhooks.payloads import InvalidPayload
from webhooks.sending.headers import TRACEPARENT

State = Delivery.State
Scope = ApiKey.Scope
Operation = Callable[[Collection[UUID]], list[UUID]]

WHY_NOT_RETRIED = {
    State.PENDING: "This delivery is about to be sent.",
    State.SENDING: "This delivery is being sent.",
    State.GATHERING: "This delivery is sent when its batch is full or has waited long enough.",
    State.BATCHED: "This delivery is in the batch of another: retry that one.",
    State.QUEUED: "This delivery waits for an earlier one of its ordering key: retry that one.",
    State.HELD: "The endpoint is not active: its state says why. Once it is, the delivery follows.",
    State.DELIVERED: "This delivery has arrived.",
    State.DISCARDED: "This delivery was discarded.",
}
WHY_NOT_DISCARDED = {
    State.SENDING: "This delivery is being sent: try again when that has ended.",
    State.BATCHED: "This delivery is in the batch of another: try again when that has ended.",
    State.DELIVERED: "This delivery has arrived.",
    State.DISCARDED: "This delivery was discarded before.",
}
WHY_NOT_REPLAYED = "This delivery was fetched from a feed, or its endpoint is deleted."


@extend_schema_view(
    list=extend_schema(
        summary="List the events", description="Newest first.", parameters=[EventFilters]
    ),
    retrieve=extend_schema(summary="Show an event, its data, and how its deliveries fare"),
)
class EventViewSet(ApiViewSet[Event], ReadOnlyModelViewSet[Event]):
    """What happened in the application."""

    queryset = Event.objects.all()
    scopes = {
        "list": Scope.READ,
        "retrieve": Scope.READ,
        "create": Scope.EMIT,
        "try_subscription": Scope.READ,
    }
    filter_class = EventFilters

    def get_queryset(self) -> QuerySet[Event]:
        events = super().get_queryset()
        return events.defer("payload") if self.action == "list" else events

    def of_subscriber(self, rows: QuerySet[Event], subscriber: str) -> QuerySet[Event]:
        return (events_of if self.detail else listed_events_of)(subscriber, rows)

    def get_serializer_class(self) -> type[BaseSerializer[Event]]:
        return EventSerializer if self.action == "list" else EventDetailSerializer

    @extend_schema(
        summary="Emit an event",
        description="Every endpoint that asked for events of its type gets a delivery. With more "
        "than a hundred of them `delivery_count` is 0 as yet, and they are made soon after. Data "
        "that breaks the schema of its type is refused, unless the type says otherwise.",
        request=NewEventSerializer,
        responses={
            201: EventSerializer,
            200: OpenApiResponse(EventSerializer, "The event that the key was first used for."),
            422: OpenApiResponse(FIELDS, "The key was used for an event with other content."),
        },
        parameters=[
            OpenApiParameter(
                "Idempotency-Key",
                location=OpenApiParameter.HEADER,
                description="A key of your own for this event, 255 characters at most. Sent again "
                "with the same content, it makes no second event.",
            ),
            OpenApiParameter(
                TRACEPARENT,
                location=OpenApiParameter.HEADER,
                description="The trace that the event belongs to (W3C Trace Context).",
            ),
        ],
        examples=[
            OpenApiExample(
                "An invoice is paid",
                request_only=True,
                value={"type": "invoice.paid", "data": {"invoice": "in_42", "amount": 1200}},
            )
        ],
    )
    def create(self, request: Request) -> Response:
        given = NewEventSerializer(data=request.data, context=self.get_serializer_context())
        given.is_valid(raise_exception=True)
        try:
            with tracing.continued(request.headers.get(TRACEPARENT)):
                event = emit(
                    **given.validated_data, idempotency_key=request.headers.get("Idempotency-Key")
                )
        except InvalidPayload as error:
            raise ValidationError({"data": [str(error)]}) from error
        except UnknownEventType as error:
            raise ValidationError({"type": [str(error)]}) from error
        except IdempotencyConflict as error:
            raise Unprocessable({error.field: [str(error)]}) from error
        except InvalidEvent as error:
            raise ValidationError({error.field: [str(error)]}) from error
        return Response(EventSerializer(event).data, status=200 if event.repeated else 201)

    @extend_schema(
        summary="Try a subscription out on events",
        description="Tells what a subscription with this pattern, these channels and this filter "
        "would get of an example, or of the last events, and why. Nothing is delivered or kept.",
        request=TrySerializer,
        responses={200: TrialsSerializer},
        examples=[
            OpenApiExample(
                "On an example",
                request_only=True,
                value={
                    "pattern": "invoice.*",
                    "filter": "amount > `100`",
                    "event": {"type": "invoice.paid", "data": {"amount": 120}},
                },
            ),
            OpenApiExample(
                "On the last events",
                request_only=True,
                value={"pattern": "invoice.*", "channels": ["project-42"]},
            ),
            OpenApiExample(
                "It would get the example",
                response_only=True,
                value={
                    "results": [
                        {
                            "event": None,
                            "type": "invoice.paid",
                            "channels": [],
                            "matched": True,
                            "decided_by": "matched",
                            "explanation": "The subscription asks for this event.",
                            "evaluates_to": "true",
                            "filter_error": "",
                        }
                    ]
                },
            ),
        ],
    )
    @action(detail=False, methods=["post"], url_path="try-subscription")
    def try_subscription(self, request: Request) -> Response:
        given = TrySerializer(data=request.data, context=self.get_serializer_context())
        given.is_valid(raise_exception=True)
        asked = dict(given.validated_data)
        example, subscriber = asked.pop("event", None), asked.pop("subscriber")
        subscription = Subscription(**asked)
        if example is None:
            events = latest(self.get_queryset(), subscriber and subscriber.pk)
            trials = try_on_events(subscription, events)
        else:
            occurrence = Occurrence(example["type"], example.get("channels") or [], example["data"])
            trials = try_on_example(subscription, occurrence)
        return Response(TrialsSerializer({"results": trials}).data)


@extend_schema_view(
    list=extend_schema(
        summary="List the deliveries", description="Newest first.", parameters=[DeliveryFilters]
    ),
    retrieve=extend_schema(summary="Show a delivery and the attempts at it"),
)
class DeliveryViewSet(ApiViewSet[Delivery], ReadOnlyModelViewSet[Delivery]):
    """Events on their way to endpoints."""

    queryset = Delivery.objects.select_related("event").defer("event__payload")
    owner = "endpoint__subscriber"
    scopes = {
        "list": Scope.READ,
        "retrieve": Scope.READ,
        "retry": Scope.MANAGE,
        "replay": Scope.MANAGE,
        "discard": Scope.MANAGE,
    }
    filter_class = DeliveryFilters

    def of_subscriber(self, rows: QuerySet[Delivery], subscriber: str) -> QuerySet[Delivery]:
        if self.action == "list":
            return rows.filter(**listed_deliveries_of(subscriber))
        return super().of_subscriber(rows, subscriber)

    def get_serializer_class(self) -> type[BaseSerializer[Delivery]]:
        return DeliverySerializer if self.action == "list" else DeliveryDetailSerializer

    @extend_schema(
        summary="Try a delivery again at once",
        description="One that waits need not wait for longer; a dead one is redriven: it has the "
        "whole retry schedule before it again.",
        request=None,
        responses={
            200: DeliveryDetailSerializer,
            409: conflict("It is neither waiting nor dead; the detail says what it is."),
        },
    )
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        delivery = [to_uuid(self.get_object().pk)]
        if not operations.retry_now(delivery) and not operations.redrive(delivery):
            raise Conflict(WHY_NOT_RETRIED.get(self._state()))
        return self.retrieve(request, pk=pk)

    @extend_schema(
        summary="Replay a delivery",
        description="One that has ended, in whatever way, is sent again: with the same "
        "`webhook-id`, and the whole retry schedule before it.",
        request=None,
        responses={
            200: DeliveryDetailSerializer,
            409: conflict("It has not ended, was fetched from a feed, or its endpoint is deleted."),
        },
    )
    @action(detail=True, methods=["post"])
    def replay(self, request: Request, pk: str) -> Response:
        if not operations.replay([to_uuid(self.get_object().pk)]):
            ended = self._state() in FINAL
            raise Conflict(WHY_NOT_REPLAYED if ended else "This delivery has not ended yet.")
        return self.retrieve(request, pk=pk)

    @extend_schema(
        summary="Discard a delivery",
        description="It is not attempted again.",
        request=None,
        responses={
            200: DeliveryDetailSerializer,
            409: conflict("It is being sent, or has ended; the detail says which."),
        },
    )
    @action(detail=True, methods=["post"])
    def discard(self, request: Request, pk: str) -> Response:
        if not operations.discard([to_uuid(self.get_object().pk)]):
            raise Conflict(WHY_NOT_DISCARDED.get(self._state()))
        return self.retrieve(request, pk=pk)

    def _state(self) -> State:
        return State(self.get_object().state)


OF_AN_OUTAGE = {
    "endpoint": "ep_019b1f5e6c2a7d10a3c4e5f60718293a",
    "reason": "exhausted",
    "died_after": "2026-07-01T12:00:00Z",
}
IN_BULK: dict[str, Any] = {
    "description": "All that are open and have what is said in the body, oldest first, however "
    "many they are. Some hundred are done at once; the rest follows, which the job tells of.",
    "request": DeadLetterSelectionSerializer,
    "responses": {
        200: OpenApiResponse(DeadLetterJobSerializer, "It is done, or was a dry run."),
        202: OpenApiResponse(DeadLetterJobSerializer, "There are more, which follow."),
    },
    "examples": [
        OpenApiExample("All of an endpoint's outage", request_only=True, value=OF_AN_OUTAGE),
        OpenApiExample(
            "How many that would be", request_only=True, value={**OF_AN_OUTAGE, "dry_run": True}
        ),
    ],
}


@extend_schema_view(
    list=extend_schema(
        summary="List the dead letters",
        description="Newest first; the open ones, unless another resolution is asked for.",
        parameters=[DeadLetterFilters],
    ),
    retrieve=extend_schema(summary="Show a dead letter"),
)
class DeadLetterViewSet(ApiViewSet[DeadLetter], ReadOnlyModelViewSet[DeadLetter]):
    """Why deliveries were given up, and what became of them."""

    queryset = DeadLetter.objects.select_related("delivery")
    owner = "subscriber"
    scopes = {
        "list": Scope.READ,
        "retrieve": Scope.READ,
        "redrive": Scope.MANAGE,
        "discard": Scope.MANAGE,
        "redrive_many": Scope.MANAGE,
        "discard_many": Scope.MANAGE,
        "export": Scope.READ,
    }
    serializer_class = DeadLetterSerializer
    filter_class = DeadLetterFilters

    @extend_schema(
        summary="Redrive a dead letter",
        description="Its delivery has the whole retry schedule before it again.",
        request=None,
        responses={200: DeadLetterSerializer, 409: conflict("It is not open any more.")},
    )
    @action(detail=True, methods=["post"])
    def redrive(self, request: Request, pk: str) -> Response:
        return self._resolve(request, pk, operations.redrive)

    @extend_schema(
        summary="Discard a dead letter",
        request=None,
        responses={200: DeadLetterSerializer, 409: conflict("It is not open any more.")},
    )
    @action(detail=True, methods=["post"])
    def discard(self, request: Request, pk: str) -> Response:
        return self._resolve(request, pk, operations.discard)

    @extend_schema(summary="Redrive many", operation_id="dead_letters_redrive_many", **IN_BULK)
    @action(detail=False, methods=["post"], url_path="redrive")
    def redrive_many(self, request: Request) -> Response:
        return self._resolve_many(request, dead_letters.Action.REDRIVE)

    @extend_schema(summary="Discard many", operation_id="dead_letters_discard_many", **IN_BULK)
    @action(detail=False, methods=["post"], url_path="discard")
    def discard_many(self, request: Request) -> Response:
        return self._resolve_many(request, dead_letters.Action.DISCARD)

    def _resolve(self, request: Request, pk: str, operation: Operation) -> Response:
        letter = self.get_object()
        if letter.resolution:
            raise Conflict(f"This dead letter was {letter.resolution} before.")
        if not operation([to_uuid(letter.delivery_id)]):
            raise Conflict
        return self.retrieve(request, pk=pk)

    @extend_schema(
        summary="Export dead letters",
        description="All that the filters leave, oldest first, each with its endpoint's URL and "
        "its event's data, as lines of JSON or as CSV. In CSV a cell that a spreadsheet would take "
        "for a formula begins with an apostrophe.",
        parameters=[DeadLetterExportFilters],
        responses={(200, "application/x-ndjson"): str, (200, "text/csv"): str},
    )
    @action(detail=False, content_negotiation_class=NoNegotiation)
    def export(self, request: Request) -> StreamingHttpResponse:
        asked = DeadLetterExportFilters(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        filters = dict(asked.validated_data)
        form = filters.pop("format")
        lines = dead_letter_export.export(self.get_queryset().filter(**filters), form)
        return download(lines, f"dead-letters.{form}", dead_letter_export.CONTENT_TYPES[form])

    def _resolve_many(self, request: Request, act: dead_letters.Action) -> Response:
        given = DeadLetterSelectionSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        selection = dict(given.validated_data)
        dry_run = selection.pop("dry_run")
        bound_to = subscriber_of(request)
        if bound_to is not None:
            selection["endpoint__subscriber"] = bound_to
        if dry_run:
            nothing = DeadLetterJob(
                action=act, matched=dead_letters.open_letters(selection).count()
            )
            return Response({**DeadLetterJobSerializer(nothing).data, "id": None})
        job = dead_letters.begin(act, selection, subscriber=bound_to)
        return Response(
            DeadLetterJobSerializer(job).data, status=202 if job.ended_at is None else 200
        )


@extend_schema_view(
    list=extend_schema(summary="List the redrives and discards of many"),
    retrieve=extend_schema(summary="Show how far a redrive or discard of many has come"),
)
class DeadLetterJobViewSet(ApiViewSet[DeadLetterJob], ReadOnlyModelViewSet[DeadLetterJob]):
    """What was asked for all dead letters that match."""

    queryset = DeadLetterJob.objects.all()
    owner = "subscriber"
    scopes = {"list": Scope.READ, "retrieve": Scope.READ}
    serializer_class = DeadLetterJobSerializer
    filter_class = Strict
