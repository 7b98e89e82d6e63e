"""When an endpoint's circuit opens, and how long until it is probed. Pure; times are in seconds.

A circuit that is open holds the endpoint's deliveries back, so that none uses up its attempts on an
endpoint that takes nothing. Then one delivery goes ahead as a probe (the circuit is half-open): its
success closes the circuit, its failure opens it again for longer.
"""

from collections.abc import Callable
from dataclasses import dataclass

from subscriptions.conf import SubscriptionSettings

STRETCH = 0.2
"""The share by which a wait may be stretched, lest all that broke together be probed together."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many attempts at an endpoint have succeeded and failed in a window of time."""

    successes: float = 0
    failures: float = 0


def trips(tally: Tally, settings: SubscriptionSettings) -> bool:
    """Whether so many failures open a circuit: enough results, and of them too large a share."""
    results = tally.successes + tally.failures
    return (
        settings.circuit_failure_rate > 0
        and results >= settings.circuit_results
        and tally.failures >= results * settings.circuit_failure_rate
    )


def probe_wait(
    openings: int, settings: SubscriptionSettings, *, random: Callable[[], float]
) -> float:
    """How long until the probe, where a circuit has opened so many times in a row (from 1).

    It doubles from one opening to the next, up to a limit; `random` gives 0 to 1.
    """
    doubled = settings.circuit_wait * 2 ** min(openings - 1, 32)
    return float(min(doubled, settings.circuit_wait_max) * (1 + STRETCH * random()))
