"""Counts and times as people say them."""

from django.contrib.humanize.templatetags.humanize import intword


def counted(amount: float) -> str:
    """A count as people say it: 1,234, and 5.0 million."""
    number = round(amount)
    return f"{number:,}" if number < 1_000_000 else str(intword(number))


def lasted(milliseconds: float) -> str:
    """A time as people say it: 12 ms, 1.5 s, 3 min."""
    seconds = milliseconds / 1_000
    if seconds < 1:
        return f"{milliseconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.0f} h"
