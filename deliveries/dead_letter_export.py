"""Dead letters as a file, with what is needed to deal with them elsewhere."""

from collections.abc import Iterator
from typing import Any, Literal

from django.db.models import QuerySet

from deliveries.exporting import Row, csv_lines, json_lines, pages_to_show
from deliveries.models import DeadLetter

Format = Literal["ndjson", "csv"]

CONTENT_TYPES: dict[Format, str] = {
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
}

COLUMNS = (
    *("id", "reason", "last_error", "died_at", "resolution", "resolved_at"),
    *("delivery", "attempts", "endpoint", "url", "subscriber"),
    *("event", "event_type", "occurred_at", "data"),
)


def export(letters: QuerySet[DeadLetter], format: Format) -> Iterator[str]:
    """The letters, oldest first, each with its endpoint and its event's data."""
    found = pages_to_show(letters.select_related("delivery__event", "endpoint"))
    one_by_one = (letter for page in found for letter in page)
    if format == "ndjson":
        return json_lines(_row(letter, data=letter.delivery.event.data) for letter in one_by_one)
    rows = (_row(letter, data=letter.delivery.event.payload) for letter in one_by_one)
    return csv_lines(COLUMNS, rows)


def _row(letter: DeadLetter, data: Any) -> Row:
    delivery, event = letter.delivery, letter.delivery.event
    return {
        "id": letter.pk,
        "reason": letter.reason,
        "last_error": letter.last_error,
        "died_at": letter.died_at,
        "resolution": letter.resolution or "open",
        "resolved_at": letter.resolved_at,
        "delivery": delivery.pk,
        "attempts": delivery.attempt_number,
        "endpoint": letter.endpoint_id,
        "url": letter.endpoint.url,
        "subscriber": letter.subscriber_id,
        "event": event.pk,
        "event_type": letter.event_type,
        "occurred_at": event.occurred_at,
        "data": data,
    }
