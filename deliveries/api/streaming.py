"""Answers that are written as they are read, however long they get."""

from collections.abc import Iterator
from typing import Any

from django.http import StreamingHttpResponse
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request


class NoNegotiation(BaseContentNegotiation):
    """The answer has the one form that it has, whatever is accepted; refusals are JSON."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> Any:
        return renderers[0], renderers[0].media_type


def download(lines: Iterator[str], name: str, content_type: str) -> StreamingHttpResponse:
    """A file to be saved, in bounded memory."""
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(lines, content_type=content_type, headers=disposition)
