"""What all views of the API are held to, whatever the project's REST_FRAMEWORK settings say."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from rest_framework.permissions import SAFE_METHODS
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.viewsets import GenericViewSet

from subscriptions import replica
from subscriptions.api.access import ApiKeyAuthentication, HasScope, subscriber_of
from subscriptions.api.errors import handle
from subscriptions.api.filters import QueryFilter
from subscriptions.api.pagination import NewestFirst
from subscriptions.api.parsing import StrictJSONParser
from subscriptions.api.throttling import KeyThrottle
from subscriptions.models import ApiKey

Row = TypeVar("Row", bound=Model)


class ApiViewSet(GenericViewSet[Row]):
    """JSON in and out, for keys with the right scope, which see what is theirs."""

    authentication_classes = [ApiKeyAuthentication]
    permission_classes = [HasScope]
    parser_classes = [StrictJSONParser]
    renderer_classes = [JSONRenderer]
    pagination_class = NewestFirst
    filter_backends = [QueryFilter]
    # PATCH changes the fields that are sent; a PUT would have to name them all.
    http_method_names = ["get", "head", "post", "patch", "delete"]

    scopes: Mapping[str, ApiKey.Scope]
    """The scope that each action takes."""
    unbound_only: Collection[str] = ()
    """The actions that are not for keys bound to a subscriber."""
    owner: str
    """The look-up that leads from a row to its subscriber."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.throttle = KeyThrottle()

    def get_throttles(self) -> list[BaseThrottle]:
        return [self.throttle]

    def get_exception_handler(self) -> Callable[..., Response | None]:
        return handle

    def get_queryset(self) -> QuerySet[Row]:
        rows = super().get_queryset()
        subscriber = subscriber_of(self.request)
        return rows if subscriber is None else self.of_subscriber(rows, subscriber)

    def of_subscriber(self, rows: QuerySet[Row], subscriber: str) -> QuerySet[Row]:
        """Those that a key bound to the subscriber sees."""
        return rows.filter(**{self.owner: subscriber})

    def paginate_queryset(self, queryset: Any) -> Any:
        # Serializers read what belongs to a row where the row came from.
        return replica.read(queryset, super().paginate_queryset)

    def check_permissions(self, request: Request) -> None:
        # Counted first: a request that its key's scopes do not allow costs something too.
        super().check_throttles(request)
        super().check_permissions(request)

    def check_throttles(self, request: Request) -> None:
        """Nothing more: a request has been counted before its permissions were looked at."""

    def initial(self, request: Request, *args: Any, **options: Any) -> None:
        super().initial(request, *args, **options)
        if request.method not in SAFE_METHODS:
            # Read before any transaction begins, and looked at even where nothing is made of it.
            _ = request.data

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **options: Any
    ) -> Response:
        response = super().finalize_response(request, response, *args, **options)
        # Many answers are somebody's alone, and some have a secret.
        response.headers["Cache-Control"] = "no-store"
        for name, value in self.throttle.headers().items():
            response.headers[name] = value
        return response
