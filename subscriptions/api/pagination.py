"""Lists come in pages, with a link to the next."""

from rest_framework.pagination import CursorPagination


class NewestFirst(CursorPagination):
    """By id, which is by time, backwards."""

    ordering = "-id"
    page_size = 50
    page_size_query_param = "page_size"
    page_size_query_description = "How many results a page has: 50, or what you say up to 200."
    max_page_size = 200


class ByName(NewestFirst):
    """In alphabetical order."""

    ordering = "name"
