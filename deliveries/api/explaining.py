"""Why an event was delivered to an endpoint, or was not, over HTTP."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries.api.serializers import AttemptSerializer
from deliveries.api.visibility import events_of
from deliveries.explaining import Explanation, explain
from deliveries.explaining.facts import gather
from deliveries.explaining.outlook import Outlook
from deliveries.explaining.rules import Asked, Matching, Rule
from deliveries.explaining.timeline import Moment, What
from deliveries.models import Delivery, Event
from subscriptions.api.access import subscriber_of, visible
from subscriptions.api.fields import Id
from subscriptions.api.serializers import Strict
from subscriptions.api.viewsets import ApiViewSet
from subscriptions.explaining import Reason
from subscriptions.models import ApiKey, Endpoint

EXAMPLE = {
    "event": "evt_019b1f5e6c2a7d10a3c4e5f60718293a",
    "endpoint": "ep_019b1f5d1f0e7c42b1d2c3b4a5968778",
    "delivery": "dlv_019b1f5e6c2b70f0b4a3928170605040",
    "state": "waiting",
    "answer": "It waits for its next attempt. Attempt 1: answered 503 Service Unavailable.",
    "next": {"explanation": "Attempt 2 follows (try 2 of 10).", "at": "2026-07-01T12:00:05.31Z"},
    "matching": {
        "matched": True,
        "rule": "matched",
        "explanation": "sbn_019b1f5d2a3b7c4d9e8f706152433425 asks for it: "
        "its pattern is “invoice.*”.",
        "subscriptions": [
            {
                "id": "sbn_019b1f5d2a3b7c4d9e8f706152433425",
                "pattern": "invoice.*",
                "channels": [],
                "filter": "",
                "matched": True,
                "decided_by": "matched",
                "explanation": "The subscription asks for this event.",
                "changed_at": None,
                "change": "",
            }
        ],
    },
    "timeline": [
        {
            "at": "2026-07-01T12:00:00Z",
            "what": "event",
            "explanation": "The event was emitted.",
            "state": "",
            "by": "",
            "attempt": None,
            "dead_letter": None,
        },
        {
            "at": "2026-07-01T12:00:00.01Z",
            "what": "delivery",
            "explanation": "Its delivery was made, for a worker to take.",
            "state": "pending",
            "by": "",
            "attempt": None,
            "dead_letter": None,
        },
        {
            "at": "2026-07-01T12:00:00.3Z",
            "what": "attempt",
            "explanation": "Attempt 1: answered 503 Service Unavailable.",
            "state": "waiting",
            "by": "",
            "attempt": {
                "number": 1,
                "outcome": "rejected",
                "status": 503,
                "duration_ms": 270,
                "dns_ms": 4,
                "connect_ms": 21,
                "tls_ms": 44,
                "first_byte_ms": 199,
                "error": "answered 503 Service Unavailable",
                "response_body": "",
                "response_headers": "Server: nginx\nContent-Length: 0",
                "ended_at": "2026-07-01T12:00:00.3Z",
            },
            "dead_letter": None,
        },
    ],
}


class EndpointQuery(Strict):
    endpoint = Id("ep", help_text="The endpoint that did not get it, or did.")


class AskedSerializer(serializers.Serializer[Asked]):
    id = Id("sbn", source="subscription.pk")
    pattern = serializers.CharField(source="subscription.pattern")
    channels = serializers.ListField(child=serializers.CharField(), source="subscription.channels")
    filter = serializers.CharField(source="subscription.filter")
    matched = serializers.BooleanField(
        source="wish.matched", help_text="Whether it asks for the event, as it is now."
    )
    decided_by = serializers.ChoiceField(list(Reason), source="wish.reason")
    explanation = serializers.CharField(source="wish.sentence")
    changed_at = serializers.DateTimeField(
        allow_null=True, help_text="When it was made or last changed, if that is since the event."
    )
    change = serializers.CharField(help_text="What was changed of it then, and by whom.")


class MatchingSerializer(serializers.Serializer[Matching]):
    matched = serializers.BooleanField()
    rule = serializers.ChoiceField(list(Rule), help_text="What decided it.")
    explanation = serializers.CharField(source="sentence")
    subscriptions = AskedSerializer(many=True)


class OutlookSerializer(serializers.Serializer[Outlook]):
    explanation = serializers.CharField(source="sentence")
    at = serializers.DateTimeField(allow_null=True, help_text="When, where that is known.")


class MomentSerializer(serializers.Serializer[Moment]):
    at = serializers.DateTimeField()
    what = serializers.ChoiceField(list(What))
    explanation = serializers.CharField(source="sentence")
    state = serializers.ChoiceField(
        Delivery.State.choices,
        allow_blank=True,
        help_text="That the delivery was in from then on; empty where it stayed as it was.",
    )
    by = serializers.CharField(help_text="Whose doing it was, where it was somebody's.")
    attempt = AttemptSerializer(allow_null=True)
    dead_letter = Id("dead", source="dead_letter.pk", allow_null=True, default=None)


class ExplanationSerializer(serializers.Serializer[Explanation]):
    event = Id("evt", source="event.pk")
    endpoint = Id("ep", source="endpoint.pk")
    delivery = Id("dlv", source="delivery.pk", allow_null=True, default=None)
    state = serializers.ChoiceField(
        Delivery.State.choices, source="delivery.state", allow_null=True, default=None
    )
    answer = serializers.CharField(help_text="How it stands, and why.")
    next = OutlookSerializer(help_text="What happens next.")
    matching = MatchingSerializer(help_text="Whether the endpoint gets it, and by which rule.")
    timeline = MomentSerializer(many=True, help_text="What happened, oldest first.")


class ExplanationViewSet(ApiViewSet[Event]):
    """Answers to why an event was not delivered."""

    queryset = Event.objects.all()
    scopes = {"explain": ApiKey.Scope.READ}

    def of_subscriber(self, rows: QuerySet[Event], subscriber: str) -> QuerySet[Event]:
        return events_of(subscriber, rows)

    @extend_schema(
        summary="Explain why an event was delivered to an endpoint, or was not",
        description="Whether it matched and by which rule, each change of its delivery's state "
        "with its time and cause, each attempt with its timings, and what happens next, and when.",
        parameters=[EndpointQuery],
        responses={200: ExplanationSerializer},
        examples=[OpenApiExample("It waits", response_only=True, value=EXAMPLE)],
    )
    @action(detail=True)
    def explain(self, request: Request, **_: Any) -> Response:
        event = self.get_object()
        asked = EndpointQuery(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        endpoints = Endpoint.objects.select_related("subscriber")
        endpoint = get_object_or_404(
            visible(endpoints, request, "subscriber"), pk=asked.validated_data["endpoint"]
        )
        facts = gather(event, endpoint, asked_by=subscriber_of(request))
        return Response(ExplanationSerializer(explain(facts)).data)
