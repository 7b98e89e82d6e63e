"""An id for each request: in its response, in its log lines, in what the API refuses.

`RequestIds` wants the first place in MIDDLEWARE, so that no response is without; `RequestIdFilter`
gives log records the attribute `request_id`.
"""

import logging
import re
from collections.abc import Callable
from contextvars import ContextVar

from django.core.signals import request_finished
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse

from subscriptions.ids import new_id

HEADER = "X-Request-ID"
WELL_FORMED = re.compile(r"[A-Za-z0-9._~:+/=@-]{1,128}")

current: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that is being answered."""


class RequestIds:
    """Takes over an id that came with the request, if it is well formed, or makes one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get(HEADER, "")
        request_id = given if WELL_FORMED.fullmatch(given) else new_id("req")
        current.set(request_id)
        response = self.get_response(request)
        response.headers[HEADER] = request_id
        return response


@receiver(request_finished)
def forget(**_: object) -> None:
    # Not in the middleware: Django logs a response once all middleware has seen it.
    current.set(None)


class RequestIdFilter(logging.Filter):
    """Lets every record pass, with its request's id, or "-" where there is no request."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = current.get() or "-"
        return True
