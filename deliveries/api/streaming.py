"""Answers that are written as they are read, however long they get."""

from typing import Any

from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request


class NoNegotiation(BaseContentNegotiation):
    """The answer has the one form that it has, whatever is accepted; refusals are JSON."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> Any:
        return renderers[0], renderers[0].media_type
