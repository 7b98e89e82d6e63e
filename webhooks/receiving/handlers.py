"""Handlers by event type."""

from collections.abc import Callable

from webhooks.receiving.messages import Message

Handler = Callable[[Message], None]


class Handlers:
    """A registry that is itself a handler: it calls every handler whose pattern matches.

    Patterns are an event type (`invoice.paid`), all below one (`invoice.*`), or all (`*`). A
    message that none matches is simply acknowledged.
    """

    def __init__(self) -> None:
        self._by_pattern: list[tuple[str, Handler]] = []

    def on(self, pattern: str) -> Callable[[Handler], Handler]:
        """Register the decorated function for the event types that match."""

        def register(handler: Handler) -> Handler:
            self._by_pattern.append((pattern, handler))
            return handler

        return register

    def __call__(self, message: Message) -> None:
        for pattern, handler in self._by_pattern:
            if matches(pattern, message.type):
                handler(message)


def matches(pattern: str, event_type: str) -> bool:
    """Whether an event type is the pattern, or below it where that ends in `*`."""
    if pattern == "*":
        return True
    if pattern.endswith(".*"):
        return event_type.startswith(pattern[:-1])
    return event_type == pattern
