"""Channels: labels of an event, by which a subscription may ask for some of a type's events."""

import re
from collections.abc import Iterable

MAX_CHANNELS = 10
MAX_LENGTH = 128
CHANNEL = r"[A-Za-z0-9_.:-]{1,128}"
CHANNEL_PATTERN = rf"\A{CHANNEL}\Z"


class InvalidChannels(ValueError):
    """Channels that are not well formed, or too many."""


def normalized(channels: Iterable[str]) -> list[str]:
    """The channels in order, each once. Raises InvalidChannels, whatever they are."""
    if isinstance(channels, str) or not isinstance(channels, Iterable):
        raise InvalidChannels("Give channels as a list of strings.")
    given = list(channels)
    for channel in given:
        if not isinstance(channel, str) or not re.fullmatch(CHANNEL, channel):
            raise InvalidChannels(
                f"{str(channel)[:MAX_LENGTH]!r} is not a channel: use letters, digits, '_', '-', "
                f"'.' and ':', {MAX_LENGTH} characters at most."
            )
    if len(set(given)) > MAX_CHANNELS:
        raise InvalidChannels(f"Name {MAX_CHANNELS} channels at most.")
    return sorted(set(given))
