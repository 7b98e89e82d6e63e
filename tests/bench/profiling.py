"""A worker's profile, summed up by the layer that the time was spent in."""

import pstats
from collections import Counter
from pathlib import Path
from typing import Any

# The first that is part of a function's path, or of a built-in function's name, names its layer.
LAYERS = {
    "/deliveries/courier/": "the courier itself",
    "pycurl.": "sending: curl",
    "/webhooks/sending/": "sending: around curl",
    "/webhooks/": "rendering and signing",
    "/deliveries/rendering": "rendering and signing",
    "/subscriptions/encryption": "rendering and signing",
    "/deliveries/": "claim and record",
    "/subscriptions/": "claim and record",
    "/psycopg": "claim and record: psycopg",
    "/django/db/": "claim and record: Django",
    "/config/broker": "broker: the bulk transport",
    "/redis/": "broker: the Redis client",
    "/kombu/asynchronous": "the event loop",
    "/kombu/": "broker: kombu",
    "/celery/": "Celery",
}
ELSE = "all else"

Function = tuple[str, int, str]


def shares(statistics: Path) -> dict[str, float]:
    """Each layer's share of the time, the largest first.

    What belongs to no layer, as the standard library does, counts for the layer that called it.
    """
    functions: dict[Function, Any] = pstats.Stats(str(statistics)).stats  # type: ignore[attr-defined]
    known: dict[Function, dict[str, float]] = {}

    def layers(function: Function) -> dict[str, float]:
        """The layers that a function works for, and the share of each."""
        if function not in known:
            layer = _layer(function)
            # A function that calls itself, by whatever way, is for now its own.
            known[function] = {layer or ELSE: 1.0}
            callers = functions[function][4]
            total = sum(time for *_, time in callers.values())
            if layer is None and total:
                found: Counter[str] = Counter()
                for caller, (*_, time) in callers.items():
                    for name, share in layers(caller).items():
                        found[name] += share * time / total
                known[function] = found
        return known[function]

    spent: Counter[str] = Counter()
    for function, (_, _, own_time, _, _) in functions.items():
        for name, share in layers(function).items():
            spent[name] += own_time * share
    total = spent.total()
    return {layer: time / total for layer, time in spent.most_common()}


def _layer(function: Function) -> str | None:
    path, _, name = function
    where = name if path == "~" else path
    return next((layer for part, layer in LAYERS.items() if part in where), None)
