"""Test events, over HTTP."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries.testing import NotTestable, TooManyTests, send_test_event
from subscriptions.api.errors import Conflict
from subscriptions.api.schema import conflict
from subscriptions.api.viewsets import ApiViewSet
from subscriptions.models import OUTCOMES, ApiKey, Endpoint


class ShownRequestSerializer(serializers.Serializer[Any]):
    url = serializers.CharField()
    headers = serializers.DictField(
        child=serializers.CharField(),
        source="request_headers",
        help_text="As sent, but for what your headers and authentication have in them.",
    )
    body = serializers.CharField(source="request_body", help_text="Before it is compressed.")


class ShownResponseSerializer(serializers.Serializer[Any]):
    status = serializers.IntegerField(
        source="outcome.status", allow_null=True, help_text="Null, if no answer came."
    )
    headers = serializers.DictField(child=serializers.CharField(), source="response_headers")
    body = serializers.CharField(source="outcome.response_body", help_text="Its first 4 KiB.")


class ShownExchangeSerializer(serializers.Serializer[Any]):
    request = ShownRequestSerializer(source="*")
    response = ShownResponseSerializer(source="*")
    outcome = serializers.ChoiceField(OUTCOMES, source="outcome.kind")
    error = serializers.CharField(
        source="outcome.error", help_text="What went wrong; empty if nothing did."
    )
    duration_ms = serializers.IntegerField(source="outcome.duration_ms")


class TestEventViewSet(ApiViewSet[Any]):
    """Tries an endpoint out."""

    queryset = Endpoint.objects.existing()
    owner = "subscriber"
    scopes = {"test": ApiKey.Scope.MANAGE}
    serializer_class = ShownExchangeSerializer

    @extend_schema(
        summary="Send an endpoint a test event, and see request and answer",
        description="An event `angarium.test`, whatever the endpoint asked for, also while it is "
        "paused or disabled. It is sent before this is answered, within ten seconds; it is tried "
        "once, and nothing of it is recorded.",
        request=None,
        responses={
            200: ShownExchangeSerializer,
            409: conflict("It is a feed, or has not answered its challenge."),
        },
        examples=[
            OpenApiExample(
                "An endpoint that has another secret",
                response_only=True,
                status_codes=["200"],
                value={
                    "request": {
                        "url": "https://example.com/webhooks",
                        "headers": {
                            "Host": "example.com",
                            "Authorization": "[secret]",
                            "Content-Type": "application/json",
                            "webhook-id": "evt_019b1f5e6c2a7d10a3c4e5f60718293a",
                            "webhook-timestamp": "1782907200",
                            "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
                        },
                        "body": '{"type":"angarium.test","timestamp":"2026-07-01T12:00:00Z",…}',
                    },
                    "response": {
                        "status": 401,
                        "headers": {"Content-Type": "application/json"},
                        "body": '{"error": "The webhook is not verified."}',
                    },
                    "outcome": "rejected",
                    "error": "answered 401 Unauthorized",
                    "duration_ms": 84,
                },
            )
        ],
    )
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        try:
            exchange = send_test_event(self.get_object())
        except NotTestable as error:
            raise Conflict(str(error)) from error
        except TooManyTests as error:
            raise Throttled(wait=1, detail=str(error)) from error
        return Response(self.get_serializer(exchange).data)
