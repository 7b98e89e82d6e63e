"""JSON as a page shows it: laid out, to be folded up, without a script."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from subscriptions.hidden_characters import shown

MAX_VALUES = 500
MAX_DEPTH = 12
OPEN_TO = 2
"""Beyond so many values or so deep it is shown as text; what is deeper than OPEN_TO is folded."""


def json_tree(text: str) -> SafeString:
    """Text from outside: a tree where it is JSON of a size that can be looked through."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return as_text(text)
    if not isinstance(value, dict | list) or not _is_bounded(value):
        return as_text(text)
    return format_html('<div class="json">{}</div>', _folded(value, 0))


def as_text(text: str) -> SafeString:
    """Text from outside as it is, with whatever would not show made visible."""
    return format_html('<pre class="text">{}</pre>', shown(text))


def _is_bounded(value: Any) -> bool:
    return len([*islice(_depths(value, 0), MAX_VALUES + 1)]) <= MAX_VALUES and all(
        depth <= MAX_DEPTH for depth in islice(_depths(value, 0), MAX_VALUES)
    )


def _depths(value: Any, depth: int) -> Iterator[int]:
    """How deep each value is, no deeper than one more than may be."""
    yield depth
    if isinstance(value, dict | list) and depth <= MAX_DEPTH:
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _depths(inner, depth + 1)


def _folded(value: Any, depth: int) -> SafeString:
    if not isinstance(value, dict | list) or not value:
        kind = type(value).__name__ if value is not None else "none"
        written = shown(json.dumps(value, ensure_ascii=False))
        return format_html('<code class="{}">{}</code>', kind, written)
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    rows = format_html_join(
        "",
        "<dt>{}</dt><dd>{}</dd>",
        ((shown(str(name)), _folded(inner, depth + 1)) for name, inner in pairs),
    )
    brackets = "{{…}}" if isinstance(value, dict) else "[…]"
    return format_html(
        "<details{}><summary>" + brackets + " <small>{}</small></summary><dl>{}</dl></details>",
        " open" if depth < OPEN_TO else "",
        len(value),
        rows,
    )
