"""How things are shown in lists and pages: a state as a mark, a time as how long ago."""

from datetime import datetime

from django.contrib.humanize.templatetags.humanize import naturaltime
from django.utils.html import format_html
from django.utils.safestring import SafeString


def mark(word: str, tone: str) -> SafeString:
    """A word in the colour of its tone: good, busy, waiting, bad or over."""
    return format_html('<span class="mark {}">{}</span>', tone, word)


def moment(time: datetime | None) -> SafeString | None:
    """How long ago (or ahead) a time is; the time itself where the pointer rests on it."""
    if time is None:
        return None
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        time.isoformat(),
        f"{time:%Y-%m-%d %H:%M:%S %Z}",
        naturaltime(time),
    )
