"""How the portal's pages write things that come from elsewhere."""

import json
from datetime import datetime

from django import template
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.utils.html import format_html
from django.utils.safestring import SafeString

from subscriptions.hidden_characters import shown as with_hidden_shown

register = template.Library()


@register.filter
def shown(value: object) -> str:
    """Text from outside, with whatever would not show made visible."""
    return with_hidden_shown(str(value))


@register.filter
def pretty(value: object) -> str:
    """JSON, laid out to be read."""
    return with_hidden_shown(json.dumps(value, indent=2, ensure_ascii=False))


@register.filter
def laid_out(text: str) -> str:
    """A body: laid out where it is JSON, and as it is where not."""
    try:
        return pretty(json.loads(text))
    except (ValueError, RecursionError):
        return with_hidden_shown(text)


@register.filter
def ago(time: datetime | None) -> SafeString | str:
    """How long ago, or ahead; the moment itself where the pointer rests on it."""
    return "" if time is None else _moment(time, naturaltime(time))


@register.filter
def at(time: datetime | None) -> SafeString | str:
    """The moment, to the second."""
    return "" if time is None else _moment(time, _written(time))


def _moment(time: datetime, said: str) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', time.isoformat(), _written(time), said
    )


def _written(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S %Z}"
