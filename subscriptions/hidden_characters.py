"""Characters that do not show, and make text read as something that it is not.

Control characters, those that turn the direction of writing, those of no width. Not among them are
tabs, line breaks, and the joiners that Persian and emoji are written with.
"""

import re

from django.core.exceptions import ValidationError

HIDDEN = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


def shown(text: str) -> str:
    r"""The text with each of them as Python writes it: \u202e."""
    return HIDDEN.sub(lambda hidden: repr(hidden[0])[1:-1], text)


def refuse_hidden(text: str) -> None:
    """Raise ValidationError where there is one."""
    if hidden := HIDDEN.search(text):
        raise ValidationError(
            f"Take out the character U+{ord(hidden[0]):04X}: it does not show, and changes how the "
            "rest reads.",
            code="hidden_character",
        )
