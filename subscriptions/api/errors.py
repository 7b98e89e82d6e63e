"""What goes wrong, as an answer in DRF's shape: {"field": ["message"]} or {"detail": "message"}.

Either has a "request_id" as well, where the RequestIds middleware is at work.
"""

import logging
from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError, IntegrityError
from rest_framework.exceptions import APIException, ParseError, ValidationError
from rest_framework.response import Response
from rest_framework.serializers import as_serializer_error
from rest_framework.views import exception_handler

from subscriptions import request_ids
from subscriptions.database_errors import without_values

logger = logging.getLogger(__name__)


class Conflict(APIException):
    """What is asked for does not go with the state that things are in."""

    status_code = 409
    default_detail = "Somebody else changed this at the same time: look again, then try again."
    default_code = "conflict"


class Unprocessable(ValidationError):
    """Every field is well formed, and still they do not go together."""

    status_code = 422


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's handler, which also knows what the models and the database refuse."""
    if isinstance(error, DjangoValidationError):
        error = ValidationError(as_serializer_error(error))
    elif isinstance(error, IntegrityError):
        # Serializers have checked it, so that only a race leads here.
        logger.warning("The database refused a change: %s", without_values(error))
        error = Conflict()
    elif isinstance(error, DataError):
        logger.warning("The database refused a value: %s", without_values(error))
        error = ParseError("The request has a value that the database cannot hold, as a NUL is.")
    response = exception_handler(error, context)
    if response is not None and isinstance(response.data, dict):
        response.data = with_request_id(response.data)
    return response


def with_request_id(body: dict[str, Any]) -> dict[str, Any]:
    """The body of an error, from which one finds the lines in the log."""
    request_id = request_ids.current.get()
    return body if request_id is None else {**body, "request_id": request_id}
