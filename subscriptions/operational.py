"""Angarium's own events, which it delivers to whoever runs it through itself.

They are for the endpoints of operators alone, who may subscribe to them whatever the catalogue has.
"""

OPERATIONAL_TYPES = frozenset(
    {
        "endpoint.warning",  # nothing but failures for a good part of DISABLE_AFTER
        "endpoint.disabled",
        "endpoint.enabled",
        "delivery.dead",
        "replay.finished",
    }
)
