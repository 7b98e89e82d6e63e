"""Lists come in pages, with a link to the next."""

from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request


class NewestFirst(CursorPagination):
    """By id, which is by time, backwards."""

    ordering = "-id"
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200

    def decode_cursor(self, request: Request) -> Cursor | None:
        cursor = super().decode_cursor(request)
        # It becomes a value in a query, and PostgreSQL has no NUL.
        if cursor is not None and not str(cursor.position).isprintable():
            raise NotFound(self.invalid_cursor_message)
        return cursor


class ByName(NewestFirst):
    """In alphabetical order."""

    ordering = "name"
