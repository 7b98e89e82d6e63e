"""Event types, subscribers, endpoints and their subscriptions, over HTTP."""

import logging
from collections.abc import Callable
from typing import TypeVar

from django.db import IntegrityError, connection, transaction
from django.db.models import Model, QuerySet
from django.shortcuts import get_object_or_404
from django.utils.decorators import method_decorator
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ModelViewSet

from subscriptions.api.errors import Conflict
from subscriptions.api.pagination import ByName
from subscriptions.api.schema import conflict
from subscriptions.api.serializers import (
    ChangedEndpointSerializer,
    EndpointFilters,
    EndpointSerializer,
    EventTypeFilters,
    EventTypeSerializer,
    NewEndpointSerializer,
    NewEventTypeSerializer,
    NewSubscriptionSerializer,
    SecretSerializer,
    SubscriberFilters,
    SubscriberSerializer,
    SubscriptionFilters,
    SubscriptionSerializer,
)
from subscriptions.api.viewsets import ApiViewSet
from subscriptions.history import HistoryEntry
from subscriptions.ids import to_uuid
from subscriptions.models import (
    ApiKey,
    Endpoint,
    EventType,
    SigningSecret,
    Subscriber,
    Subscription,
)

logger = logging.getLogger(__name__)

Row = TypeVar("Row", bound=Model)
Scope = ApiKey.Scope

CHANGES = frozenset({"create", "partial_update", "destroy"})
NOT_SENT_TO = conflict("It is a feed, to which nothing is sent.")


@method_decorator(transaction.atomic, "create")
@method_decorator(transaction.atomic, "partial_update")
@method_decorator(transaction.atomic, "destroy")
class LockingViewSet(ApiViewSet[Row], ModelViewSet[Row]):
    """Locks what it is about to change, lest that bring back what is being deleted."""

    scopes = {
        "list": Scope.READ,
        "retrieve": Scope.READ,
        "create": Scope.MANAGE,
        "partial_update": Scope.MANAGE,
        "destroy": Scope.MANAGE,
    }

    def get_queryset(self) -> QuerySet[Row]:
        rows = super().get_queryset()
        if self.request.method in SAFE_METHODS:
            return rows
        return rows.select_for_update(of=("self",), no_key=True)


@extend_schema_view(
    list=extend_schema(summary="List the event types", parameters=[EventTypeFilters]),
    create=extend_schema(
        summary="Add an event type to the catalogue",
        request=NewEventTypeSerializer,
        examples=[
            OpenApiExample(
                "An event type whose data is checked",
                request_only=True,
                value={
                    "name": "invoice.paid",
                    "group": "Billing",
                    "description": "An invoice is paid in full.",
                    "schema": {
                        "type": "object",
                        "properties": {
                            "invoice": {"type": "string"},
                            "amount": {"type": "integer", "minimum": 0},
                        },
                        "required": ["invoice", "amount"],
                    },
                    "example": {"invoice": "in_42", "amount": 1200},
                },
            )
        ],
    ),
    retrieve=extend_schema(summary="Show an event type"),
    partial_update=extend_schema(
        summary="Describe an event type anew, or archive it",
        description="A schema that breaks what subscribers were promised is refused, with what it "
        "breaks, unless `accept_breaking` is sent.",
        responses={
            200: EventTypeSerializer,
            409: conflict("The schema would break what subscribers were promised."),
        },
        examples=[
            OpenApiExample(
                "A schema that promises less, which subscribers were told of",
                request_only=True,
                value={
                    "schema": {"type": "object", "properties": {"invoice": {"type": "string"}}},
                    "accept_breaking": True,
                },
            ),
            OpenApiExample(
                "Data that breaks the schema is logged, and delivered",
                request_only=True,
                value={"schema_check": "warn"},
            ),
            OpenApiExample(
                "For the subscribers that have a feature flag alone",
                request_only=True,
                value={"feature_flag": "beta"},
            ),
            OpenApiExample("Not offered any more", request_only=True, value={"archived": True}),
        ],
    ),
    destroy=extend_schema(summary="Take an event type out of the catalogue"),
)
class EventTypeViewSet(LockingViewSet[EventType]):
    """The catalogue that subscribers choose from. Events may go by names that are not in it."""

    queryset = EventType.objects.all()
    unbound_only = CHANGES
    lookup_value_regex = "[^/]+"
    pagination_class = ByName
    filter_class = EventTypeFilters

    def get_serializer_class(self) -> type[BaseSerializer[EventType]]:
        return NewEventTypeSerializer if self.action == "create" else EventTypeSerializer

    def of_subscriber(self, rows: QuerySet[EventType], subscriber: str) -> QuerySet[EventType]:
        flags = Subscriber.objects.values_list("feature_flags", flat=True).get(pk=subscriber)
        return rows.filter(feature_flag__in=["", *flags])


@extend_schema_view(
    list=extend_schema(summary="List the subscribers", parameters=[SubscriberFilters]),
    create=extend_schema(
        summary="Add a subscriber",
        examples=[
            OpenApiExample(
                "A customer, by the id that it has in your own system",
                request_only=True,
                value={"name": "Isfahan Carpets", "external_id": "customer-17"},
            )
        ],
    ),
    retrieve=extend_schema(summary="Show a subscriber"),
    partial_update=extend_schema(
        summary="Change a subscriber",
        examples=[
            OpenApiExample(
                "It is offered what is in trial",
                request_only=True,
                value={"feature_flags": ["beta"]},
            )
        ],
    ),
    destroy=extend_schema(
        summary="Delete a subscriber",
        responses={204: None, 409: conflict("It has endpoints, or events that are kept.")},
    ),
)
class SubscriberViewSet(LockingViewSet[Subscriber]):
    """Your customers, or whoever else owns endpoints."""

    queryset = Subscriber.objects.all()
    owner = "pk"
    # To set an external_id would tell whether another subscriber has it.
    unbound_only = CHANGES
    serializer_class = SubscriberSerializer
    filter_class = SubscriberFilters

    def perform_destroy(self, subscriber: Subscriber) -> None:
        if subscriber.endpoints.existing().exists():
            raise Conflict("This subscriber has endpoints: delete them first.")
        try:
            _forget(subscriber)
        except IntegrityError as error:
            raise Conflict(
                "This subscriber's events and deliveries are on record: "
                "it can be deleted once they are past their retention."
            ) from error


@transaction.atomic
def _forget(subscriber: Subscriber) -> None:
    """Delete a subscriber with its API keys and deleted endpoints.

    Raises IntegrityError where one is in use. It is for the database to find a use. Django would
    read every event and delivery to do so.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for statement in (
            "DELETE FROM subscriptions_apikey WHERE subscriber_id = %s",
            "DELETE FROM subscriptions_endpoint WHERE subscriber_id = %s AND state = 'deleted'",
            "DELETE FROM subscriptions_subscriber WHERE id = %s",
        ):
            cursor.execute(statement, [to_uuid(subscriber.pk)])


@extend_schema_view(
    list=extend_schema(summary="List the endpoints", parameters=[EndpointFilters]),
    create=extend_schema(
        summary="Add an endpoint",
        request=NewEndpointSerializer,
        responses={201: NewEndpointSerializer},
        examples=[
            OpenApiExample(
                "An endpoint for all that concerns invoices",
                request_only=True,
                value={
                    "subscriber": "sub_019b1f5e6c2a7d10a3c4e5f60718293a",
                    "url": "https://example.com/webhooks",
                    "subscriptions": ["invoice.*"],
                },
            ),
            OpenApiExample(
                "One that has to answer a challenge before anything is sent to it",
                request_only=True,
                value={
                    "subscriber": "sub_019b1f5e6c2a7d10a3c4e5f60718293a",
                    "url": "https://example.com/webhooks",
                    "subscriptions": ["*"],
                    "require_handshake": True,
                },
            ),
            OpenApiExample(
                "A feed, for a subscriber that cannot be sent anything",
                request_only=True,
                value={
                    "subscriber": "sub_019b1f5e6c2a7d10a3c4e5f60718293a",
                    "feed": True,
                    "subscriptions": ["invoice.*"],
                },
            ),
            OpenApiExample(
                "An endpoint that wants some events alone",
                request_only=True,
                value={
                    "subscriber": "sub_019b1f5e6c2a7d10a3c4e5f60718293a",
                    "url": "https://example.com/webhooks",
                    "subscriptions": [
                        "user.created",
                        {"pattern": "invoice.*", "filter": "amount > `100`"},
                        {"pattern": "*", "channels": ["project-42"]},
                    ],
                },
            ),
            OpenApiExample(
                "An endpoint for CloudEvents, up to fifty in one request, compressed",
                request_only=True,
                value={
                    "subscriber": "sub_019b1f5e6c2a7d10a3c4e5f60718293a",
                    "url": "https://example.com/webhooks",
                    "subscriptions": ["*"],
                    "format": "cloudevents",
                    "gzip_above": 1024,
                    "batch_events": 50,
                    "batch_seconds": 2,
                },
            ),
            OpenApiExample(
                "An endpoint that fetches what it wants to know by the event's id",
                request_only=True,
                value={
                    "subscriber": "sub_019b1f5e6c2a7d10a3c4e5f60718293a",
                    "url": "https://example.com/webhooks",
                    "subscriptions": ["*"],
                    "payload": "thin",
                },
            ),
            OpenApiExample(
                "An endpoint that is sent some of the data, in order",
                request_only=True,
                value={
                    "subscriber": "sub_019b1f5e6c2a7d10a3c4e5f60718293a",
                    "url": "https://example.com/webhooks",
                    "subscriptions": ["invoice.*"],
                    "payload": "projection",
                    "projection": "{invoice: invoice, prices: lines[].price}",
                    "ordered": True,
                },
            ),
            OpenApiExample(
                "An endpoint that wants an OAuth2 token and a header of its own",
                request_only=True,
                value={
                    "subscriber": "sub_019b1f5e6c2a7d10a3c4e5f60718293a",
                    "url": "https://example.com/webhooks",
                    "headers": {"X-Tenant": "isfahan"},
                    "authentication": {
                        "kind": "oauth2",
                        "token_url": "https://login.example.com/oauth2/token",
                        "client_id": "angarium",
                        "client_secret": "correct horse battery staple",
                        "scope": "webhooks.write",
                    },
                },
            ),
            OpenApiExample(
                "An endpoint that has long verified signatures in GitHub's style",
                request_only=True,
                value={
                    "subscriber": "sub_019b1f5e6c2a7d10a3c4e5f60718293a",
                    "url": "https://example.com/webhooks",
                    "signature_profile": "github",
                    "secret": "the secret that it knows",
                },
            ),
        ],
    ),
    retrieve=extend_schema(summary="Show an endpoint"),
    partial_update=extend_schema(
        summary="Change an endpoint",
        description="One that had to answer a challenge has to again, where its URL moves to "
        "another host.",
        request=EndpointSerializer,
        responses=ChangedEndpointSerializer,
        examples=[
            OpenApiExample(
                "Another password",
                request_only=True,
                value={
                    "authentication": {
                        "kind": "basic",
                        "user": "angarium",
                        "password": "correct horse battery staple",
                    }
                },
            ),
            OpenApiExample(
                "The signature alone again",
                request_only=True,
                value={"headers": {}, "authentication": {"kind": "none"}},
            ),
            OpenApiExample(
                "Each event in a request of its own again",
                request_only=True,
                value={"batch_events": None},
            ),
        ],
    ),
    destroy=extend_schema(summary="Delete an endpoint; what it has not got is discarded"),
)
class EndpointViewSet(LockingViewSet[Endpoint]):
    """The URLs that deliveries are POSTed to, and feeds."""

    queryset = Endpoint.objects.existing().prefetch_related(
        "subscriptions", "signing_secrets", "handshake"
    )
    owner = "subscriber"
    scopes = {
        **LockingViewSet.scopes,
        "pause": Scope.MANAGE,
        "resume": Scope.MANAGE,
        "verify": Scope.MANAGE,
        "close_circuit": Scope.MANAGE,
        "secret": Scope.MANAGE,
        "rotate_secret": Scope.MANAGE,
        "expire_secrets": Scope.MANAGE,
    }
    filter_class = EndpointFilters

    def get_serializer_class(self) -> type[BaseSerializer[Endpoint]]:
        by_action: dict[str, type[BaseSerializer[Endpoint]]] = {
            "create": NewEndpointSerializer,
            "partial_update": ChangedEndpointSerializer,
        }
        return by_action.get(self.action, EndpointSerializer)

    def perform_destroy(self, endpoint: Endpoint) -> None:
        endpoint.delete_for_good()

    @extend_schema(
        summary="Hold an endpoint's deliveries back",
        request=None,
        responses={200: EndpointSerializer, 409: NOT_SENT_TO},
    )
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        return self._change(Endpoint.pause)

    @extend_schema(
        summary="Deliver to an endpoint again",
        description="One that has not answered its challenge is sent it again, and becomes active "
        "once it does. Its circuit is closed, and failures are counted anew; what was held for it "
        "follows little by little.",
        request=None,
        responses={200: EndpointSerializer, 409: NOT_SENT_TO},
    )
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        return self._change(Endpoint.resume)

    @extend_schema(
        summary="Have an endpoint answer a challenge",
        description="It is sent the challenge at once, and several times if need be. Until it has "
        "repeated it, its deliveries are held; its `handshake` tells how that goes.",
        request=None,
        responses={200: EndpointSerializer, 409: NOT_SENT_TO},
    )
    @action(detail=True, methods=["post"])
    def verify(self, request: Request, pk: str) -> Response:
        return self._change(Endpoint.require_handshake)

    @extend_schema(
        summary="Close an endpoint's circuit",
        description="Deliver to it again at once, without a probe first: what was held meanwhile "
        "follows little by little.",
        request=None,
        responses={200: EndpointSerializer, 409: NOT_SENT_TO},
    )
    @action(detail=True, methods=["post"], url_path="close-circuit")
    def close_circuit(self, request: Request, pk: str) -> Response:
        return self._change(Endpoint.close_circuit)

    @transaction.atomic
    def _change(self, change: Callable[[Endpoint], None]) -> Response:
        endpoint = self.get_object()
        if endpoint.is_feed:
            raise Conflict("Nothing is sent to a feed: it is fetched.")
        change(endpoint)
        return Response(self.get_serializer(endpoint).data)

    @extend_schema(
        summary="Reveal an endpoint's signing secret",
        description="The newest, if it has several; of Ed25519 its public key. That it was shown "
        "is logged, and in the history.",
        responses=SecretSerializer,
    )
    @action(detail=True)
    def secret(self, request: Request, pk: str) -> Response:
        endpoint = self.get_object()
        secret = get_object_or_404(SigningSecret, endpoint=endpoint, expires_at=None)
        HistoryEntry.objects.note_reveal(secret)
        key: ApiKey = request.auth  # type: ignore[assignment]
        logger.info("API key %s was shown the signing secret of %s", key.prefix, endpoint.pk)
        return _shown(secret)

    @extend_schema(
        summary="Give an endpoint a new signing secret",
        description="The one before goes on signing too for a while, so that the receiver has time "
        "to change over. The new one is of the same kind unless `secret_kind` says otherwise.",
        request=SecretSerializer,
        responses=SecretSerializer,
        examples=[
            OpenApiExample("One like the one before", request_only=True, value={}),
            OpenApiExample(
                "One of the other kind", request_only=True, value={"secret_kind": "ed25519"}
            ),
        ],
    )
    @action(detail=True, methods=["post"], url_path="rotate-secret")
    @transaction.atomic
    def rotate_secret(self, request: Request, pk: str) -> Response:
        endpoint = self.get_object()
        given = SecretSerializer(endpoint, data=request.data)
        given.is_valid(raise_exception=True)
        secret = SigningSecret.objects.issue(
            endpoint,
            given.validated_data.get("secret"),
            kind=given.validated_data.get("secret_kind"),
        )
        return _shown(secret)

    @extend_schema(
        summary="Sign with an endpoint's newest secret alone, from now on",
        description="For when a secret is known to others: give the endpoint a new one, then "
        "expire those it replaced, which would sign for a while yet.",
        request=None,
    )
    @action(detail=True, methods=["post"], url_path="expire-secrets")
    @transaction.atomic
    def expire_secrets(self, request: Request, pk: str) -> Response:
        endpoint = self.get_object()
        SigningSecret.objects.expire_replaced(endpoint)
        endpoint.refresh_from_db()
        return Response(self.get_serializer(endpoint).data)


def _shown(secret: SigningSecret) -> Response:
    return Response({"secret": secret.reveal(), "public_key": secret.public_key or None})


@extend_schema_view(
    list=extend_schema(summary="List the subscriptions", parameters=[SubscriptionFilters]),
    create=extend_schema(
        summary="Subscribe an endpoint to event types",
        description="An endpoint may have several subscriptions of one pattern, with other "
        "channels or another filter. It gets an event once, however many of them match it.",
        request=NewSubscriptionSerializer,
        examples=[
            OpenApiExample(
                "Large invoices of two projects",
                request_only=True,
                value={
                    "endpoint": "ep_019b1f5e6c2a7d10a3c4e5f60718293a",
                    "pattern": "invoice.*",
                    "channels": ["project-42", "project-43"],
                    "filter": "amount >= `1000` && currency == 'EUR'",
                },
            )
        ],
    ),
    retrieve=extend_schema(summary="Show a subscription"),
    partial_update=extend_schema(
        summary="Switch a subscription on or off, or change its channels or its filter",
        examples=[
            OpenApiExample(
                "Everything again", request_only=True, value={"channels": [], "filter": ""}
            )
        ],
    ),
    destroy=extend_schema(summary="Delete a subscription"),
)
class SubscriptionViewSet(LockingViewSet[Subscription]):
    """What endpoints ask for: a pattern each, and perhaps channels and a filter."""

    queryset = Subscription.objects.all()
    owner = "endpoint__subscriber"
    filter_class = SubscriptionFilters

    def get_serializer_class(self) -> type[BaseSerializer[Subscription]]:
        return NewSubscriptionSerializer if self.action == "create" else SubscriptionSerializer
