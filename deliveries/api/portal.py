"""The way into the portal, handed out over HTTP."""

import logging
from datetime import timedelta
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries.conf import DeliverySettings
from deliveries.portal.conf import PortalSettings
from subscriptions.api.errors import Conflict
from subscriptions.api.schema import conflict
from subscriptions.api.viewsets import ApiViewSet
from subscriptions.conf import part
from subscriptions.models import ApiKey, Subscriber
from subscriptions.portal_access import sign_link

logger = logging.getLogger(__name__)


class PortalLinkSerializer(serializers.Serializer[Any]):
    url = serializers.URLField(help_text="Opens the portal once. Send your user there at once.")
    expires_at = serializers.DateTimeField()


class EndedSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField(help_text="How many were open.")


class PortalViewSet(ApiViewSet[Subscriber]):
    """Who may enter a subscriber's portal."""

    queryset = Subscriber.objects.staying()
    owner = "pk"
    scopes = {"portal_link": ApiKey.Scope.MANAGE, "end_portal_sessions": ApiKey.Scope.MANAGE}
    serializer_class = PortalLinkSerializer

    @extend_schema(
        summary="Make a link to a subscriber's portal",
        description="Whoever follows it may manage the subscriber's endpoints, and see their "
        "signing secrets: make one when your user asks for the portal, and redirect there. It is "
        "good for a few minutes, and once.",
        request=None,
        responses={
            200: PortalLinkSerializer,
            409: conflict("The portal is not there: no URL leads to it."),
        },
        examples=[
            OpenApiExample(
                "A link",
                response_only=True,
                status_codes=["200"],
                value={
                    "url": "https://webhooks.example.com/portal/enter/?link=WyJwc25f…",
                    "expires_at": "2026-07-01T12:05:00Z",
                },
            )
        ],
    )
    @action(detail=True, methods=["post"], url_path="portal-link")
    def portal_link(self, request: Request, pk: str) -> Response:
        subscriber = self.get_object()
        try:
            path = reverse("portal:enter", query={"link": sign_link(subscriber)})
        except NoReverseMatch as error:
            raise Conflict("The portal's URLs are not included in this project's.") from error
        public = part(DeliverySettings).public_url.rstrip("/")
        age = timedelta(seconds=part(PortalSettings).portal_link_age)
        link = {
            "url": f"{public}{path}" if public else request.build_absolute_uri(path),
            "expires_at": timezone.now() + age,
        }
        key: ApiKey = request.auth  # type: ignore[assignment]
        logger.info("API key %s was given a link to the portal of %s", key.prefix, subscriber.pk)
        return Response(self.get_serializer(link).data)

    @extend_schema(
        summary="End a subscriber's visits to the portal",
        description="Whoever is in it is out with the next click.",
        request=None,
        responses=EndedSerializer,
    )
    @action(detail=True, methods=["post"], url_path="end-portal-sessions")
    def end_portal_sessions(self, request: Request, pk: str) -> Response:
        return Response({"count": self.get_object().portal_sessions.all().end()})
