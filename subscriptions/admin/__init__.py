"""The admin of who wants what: a module for each kind of thing, which Django finds through here."""

from subscriptions.admin import (
    api_keys,
    endpoints,
    event_types,
    history,
    subscribers,
    subscriptions,
)

__all__ = ["api_keys", "endpoints", "event_types", "history", "subscribers", "subscriptions"]
