"""Which URL leads to which view."""

from rest_framework.routers import SimpleRouter


class Router(SimpleRouter):
    """Takes paths with or without the slash at their end.

    Django's redirect to the one with it would turn an event's POST into a GET, and look a success.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trailing_slash = "/?"
