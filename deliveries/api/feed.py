"""A subscriber's feed, over HTTP."""

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.request import Request

from deliveries import feed
from subscriptions.api.fields import EventTypeName, Id
from subscriptions.api.pagination import NewestFirst
from subscriptions.api.schema import DETAIL
from subscriptions.api.serializers import Strict
from subscriptions.api.viewsets import ApiViewSet
from subscriptions.models import ApiKey, Endpoint, Feed, Subscriber

NO_FEED = 'This subscriber has no feed: add an endpoint with "feed": true instead of a URL.'


class Gone(APIException):
    status_code = 410

    def __init__(self, cursor: str) -> None:
        detail = (
            "Events behind this cursor are past their retention. Go on with the cursor given here, "
            "which leads to the oldest event after them."
        )
        super().__init__({"detail": detail, "cursor": cursor})


class FeedQuery(Strict):
    cursor = serializers.CharField(
        default=None,
        help_text="The cursor of the page before; the oldest events there are, if left out.",
    )
    page_size = serializers.IntegerField(
        default=NewestFirst.page_size,
        min_value=1,
        max_value=NewestFirst.max_page_size,
        help_text=NewestFirst.page_size_query_description,
    )


class FeedItemSerializer(Strict):
    id = Id("evt")
    type = EventTypeName()
    timestamp = serializers.DateTimeField(help_text="When it happened.")
    data = serializers.JSONField()  # type: ignore[assignment]


class FeedPageSerializer(Strict):
    items = FeedItemSerializer(many=True)
    cursor = serializers.CharField(help_text="Leads to what follows: keep it.")
    has_more = serializers.BooleanField(help_text="Whether there is more at once.")


class FeedViewSet(ApiViewSet[Subscriber]):
    """Events for those who cannot be sent any."""

    queryset = Subscriber.objects.all()
    owner = "pk"
    scopes = {"feed": ApiKey.Scope.READ}
    serializer_class = FeedPageSerializer

    @extend_schema(
        summary="Fetch a subscriber's feed",
        description="The events that its feed asked for, as they would be POSTed, in an order that "
        "never changes. Keep the cursor once you have dealt with a page, and ask with it for what "
        "follows: no event is left out, and none comes twice unless you ask twice.",
        parameters=[FeedQuery],
        responses={
            200: FeedPageSerializer,
            410: OpenApiResponse(
                {
                    "allOf": [
                        DETAIL,
                        {"type": "object", "properties": {"cursor": {"type": "string"}}},
                    ]
                },
                "Events behind the cursor are past their retention.",
            ),
        },
        examples=[
            OpenApiExample(
                "One event, and no more for now",
                response_only=True,
                status_codes=["200"],
                value={
                    "items": [
                        {
                            "id": "evt_019b1f5e6c2a7d10a3c4e5f60718293a",
                            "type": "invoice.paid",
                            "timestamp": "2026-07-01T12:00:00Z",
                            "data": {"invoice": "in_42", "amount": 1200},
                        }
                    ],
                    "cursor": "AZsfXmwqfRCjxOX2BxgpOgAAAAAAAAAB",
                    "has_more": False,
                },
            )
        ],
    )
    @action(detail=True)
    def feed(self, request: Request, pk: str) -> HttpResponse:
        subscriber = self.get_object()
        asked = FeedQuery(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        endpoint = subscriber.endpoints.filter(state=Endpoint.State.FEED).first()
        if endpoint is None:
            raise NotFound(NO_FEED)
        try:
            page = feed.read(
                endpoint.pk,
                cursor=asked.validated_data["cursor"],
                limit=asked.validated_data["page_size"],
            )
        except Feed.DoesNotExist as error:
            raise NotFound(NO_FEED) from error
        except feed.InvalidCursor as error:
            raise ValidationError({"cursor": [str(error)]}) from error
        except feed.EventsDropped as error:
            raise Gone(error.cursor) from error
        return _written(page)


def _written(page: feed.Page) -> HttpResponse:
    """The page as JSON, with the events' data as it stands in the database."""
    more = "true" if page.has_more else "false"
    return HttpResponse(
        f'{{"items":[{",".join(page.items)}],"cursor":"{page.cursor}","has_more":{more}}}',
        content_type="application/json",
    )
