"""A client of Angarium's API. It depends on requests and on nothing of the server's."""

from angarium_client.client import Angarium
from angarium_client.errors import (
    AngariumError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Refused,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)

__all__ = [
    "Angarium",
    "AngariumError",
    "Conflict",
    "Forbidden",
    "Invalid",
    "NotFound",
    "Refused",
    "TooManyRequests",
    "Unauthorized",
    "Unreachable",
]
