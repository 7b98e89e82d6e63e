"""Times: read and shown by the clocks here, told to the server with their zone."""

from datetime import UTC, datetime
from typing import Any

import click


class Time(click.ParamType[datetime]):
    """A time as a person writes it: 2026-03-01, 2026-03-01T08:00 or 2026-03-01T08:00Z."""

    name = "time"

    def convert(self, value: Any, parameter: Any, context: Any) -> datetime:
        try:
            return datetime.fromisoformat(value).astimezone()
        except ValueError:
            self.fail(
                f"{value!r} is no time: write 2026-03-01, or 2026-03-01T08:00Z.", parameter, context
            )


def local(text: str) -> datetime | None:
    """A time of the server's by the clocks here; None where the text is no time."""
    if len(text) < 20 or text[4] != "-" or text[10] != "T":
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone()
