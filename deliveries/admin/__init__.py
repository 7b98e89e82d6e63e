"""The admin of what happened: a module for each kind of thing, which Django finds through here.

Those of endpoints, subscribers and subscriptions take the places of the ones in
subscriptions/admin, and add what takes deliveries to do.
"""

from deliveries.admin import (
    dead_letters,
    deliveries,
    endpoints,
    events,
    replays,
    subscribers,
    subscriptions,
)

__all__ = [
    "dead_letters",
    "deliveries",
    "endpoints",
    "events",
    "replays",
    "subscribers",
    "subscriptions",
]
