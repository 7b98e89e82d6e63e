"""The shape in which an endpoint wants its events."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Self

from subscriptions.expressions import Expression, InvalidExpression
from webhooks.formats import Format


class Payload(StrEnum):
    """How much of an event's data is sent."""

    FULL = "full"
    THIN = "thin"  # its id alone, and a link to fetch the event by
    PROJECTION = "projection"  # what a JMESPath expression makes of it


class InvalidShape(ValueError):
    """A shape that contradicts itself; `field` says where."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Shape:
    """What an endpoint says of the bodies that it gets."""

    format: Format = Format.STANDARD
    payload: Payload = Payload.FULL
    projection: str = ""
    gzip_above: int | None = None
    """Bodies of more bytes are compressed; none, where None."""
    batched: bool = False
    """Whether requests are batches, though it be of one event."""

    @classmethod
    @lru_cache(maxsize=256)
    def of(
        cls, format: str, payload: str, projection: str, gzip_above: int | None, batched: bool
    ) -> Self:
        """A shape from what is stored of it."""
        return cls(Format(format), Payload(payload), projection, gzip_above, batched)

    def check(self) -> None:
        """Raise InvalidShape unless events can be brought into this shape."""
        if self.payload is Payload.PROJECTION and not self.projection:
            raise InvalidShape("projection", "Write the JMESPath expression of the projection.")
        if self.projection and self.payload is not Payload.PROJECTION:
            raise InvalidShape(
                "projection", "Leave this empty, or choose the payload 'projection'."
            )
        if self.projection:
            try:
                Expression.parse(self.projection)
            except InvalidExpression as error:
                raise InvalidShape("projection", str(error)) from error
