"""Lists are narrowed by their query string."""

from typing import Any

from django.db.models import QuerySet
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request
from rest_framework.views import APIView

from subscriptions.api.pagination import NewestFirst

PAGE_PARAMETERS = {NewestFirst.cursor_query_param, NewestFirst.page_size_query_param}


class QueryFilter(BaseFilterBackend):
    """Filters by what the view's `filter_class`, a serializer, makes of the query parameters.

    The source of each of its fields is a look-up of the queryset's.
    """

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any, Any], view: APIView
    ) -> QuerySet[Any, Any]:
        if view.action != "list":  # type: ignore[attr-defined]
            return queryset
        asked = {
            name: value
            for name, value in request.query_params.items()
            if name not in PAGE_PARAMETERS
        }
        filters = view.filter_class(data=asked)  # type: ignore[attr-defined]
        filters.is_valid(raise_exception=True)
        return queryset.filter(**filters.validated_data)
