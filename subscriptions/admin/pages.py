"""Pages of long lists: counted up to a bound, and by id, so that no page costs more than others."""

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.humanize.templatetags.humanize import intword
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from subscriptions import replica

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList
else:
    from unfold.views import ChangeList

ROWS_COUNTED = 10_000

OLDER, NEWER = "older_than", "newer_than"


def about(rows: QuerySet[Any]) -> str:
    """How many rows there are beyond ROWS_COUNTED, as PostgreSQL's planner sees it."""
    plan = rows.order_by().values("pk").explain(format="json")
    count = json.loads(plan)[0]["Plan"]["Plan Rows"]
    # Its statistics may be old, and of what is bounded it sees no more than the bound.
    is_known = count > ROWS_COUNTED and '"Limit"' not in plan
    return f"about {count:,}" if is_known else f"more than {ROWS_COUNTED:,}"


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts the first ROWS_COUNTED rows: to count millions takes longer than to read a page."""

    object_list: QuerySet[Any]

    @cached_property
    def count(self) -> int:
        # The bare ids, or what the list shows of each row would be worked out for all of them.
        return self.object_list.order_by().values("pk")[:ROWS_COUNTED].count()

    @property
    def is_cut(self) -> bool:
        return self.count == ROWS_COUNTED


class ListFromReplica(ChangeList):
    """Read from the replica, unless it is to be changed."""

    def get_results(self, request: HttpRequest) -> None:
        if request.method == "GET":
            replica.read(self.queryset, partial(self._look_there, request))
        else:
            self.look(request)

    def _look_there(self, request: HttpRequest, rows: QuerySet[Any]) -> None:
        self.queryset = rows
        self.look(request)

    def look(self, request: HttpRequest) -> None:
        """Find the page's rows."""
        super().get_results(request)
        # Now rather than in the template, where it would be too late to turn to the primary.
        len(self.result_list)


class PagesById(ListFromReplica):
    """A list in the order of its ids, which is that of time, with links to what is older or newer.

    No page is found by counting those before it.
    """

    older = newer = ""
    """Where the links lead; empty where there is nothing more."""

    def get_queryset(self, request: HttpRequest, *options: Any, **more: Any) -> QuerySet[Any]:
        # They are no filters, nor do they belong into the links of those.
        self.places = {
            place: values[-1]
            for place in (OLDER, NEWER)
            if (values := self.filter_params.pop(place, None))
        }
        for place in self.places:
            del self.params[place]
        rows: QuerySet[Any] = super().get_queryset(request, *options, **more)
        return rows

    def look(self, request: HttpRequest) -> None:
        self.paginator = self.model_admin.get_paginator(request, self.queryset, self.list_per_page)
        self.result_count = self.paginator.count
        newest_first = str(self.queryset.query.order_by[0]).startswith("-")
        backwards = NEWER in self.places if newest_first else OLDER not in self.places
        # One more than are shown tells whether there are more.
        found = self._first(self.list_per_page + 1, "pk" if backwards else "-pk")
        more, found = len(found) > self.list_per_page, found[: self.list_per_page]
        if backwards:
            found.reverse()
        if found and (more if not backwards else self.places):
            self.older = self.get_query_string({OLDER: found[-1].pk})
        if found and (more if backwards else self.places):
            self.newer = self.get_query_string({NEWER: found[0].pk})
        self.result_list: Any = found if newest_first else found[::-1]
        self.multi_page = bool(self.older or self.newer)
        self.can_show_all = self.show_full_result_count = False
        self.full_result_count = None
        self.show_admin_actions = True

    def _first(self, limit: int, order: str) -> list[Any]:
        """The first rows beyond the place.

        Where few match they are looked up by that, and put in order then: PostgreSQL may take them
        for many, and would go through all rows in order to find them.
        """
        rows = self._beyond_the_place()
        if not rows.query.where or self.paginator.is_cut:
            return list(rows.order_by(order)[:limit])
        ids = [*rows.order_by().values_list("pk", flat=True)[:ROWS_COUNTED]]
        chosen = sorted(ids, reverse=order == "-pk")[:limit]
        rows = self.root_queryset.using(rows.db).filter(pk__in=chosen)
        return list(rows.order_by(order))

    def _beyond_the_place(self) -> QuerySet[Any]:
        rows: QuerySet[Any] = self.queryset
        try:
            if OLDER in self.places:
                rows = rows.filter(pk__lt=self.places[OLDER])
            if NEWER in self.places:
                rows = rows.filter(pk__gt=self.places[NEWER])
        except ValidationError as error:
            raise IncorrectLookupParameters(error) from error
        return rows

    @property
    def counted(self) -> str:
        """How many there are, as exactly as is known without counting millions."""
        count = self.result_count
        if not self.paginator.is_cut:
            return f"{count:,}"
        if not self.query and not self.has_active_filters and (all_ := self._estimate()) > count:
            return f"about {f'{all_:,}' if all_ < 1_000_000 else intword(all_)}"
        return f"more than {count:,}"

    def _estimate(self) -> int:
        """How many the table has, by PostgreSQL's statistics."""
        with connections[self.queryset.db].cursor() as cursor:
            cursor.execute(
                "SELECT reltuples FROM pg_class WHERE oid = %s::regclass",
                [self.model._meta.db_table],
            )
            return int(cursor.fetchone()[0])
