"""Who receives in the demo: four endpoints, each with a temper of its own."""

from dataclasses import dataclass

from subscriptions.event_types import patterns_matching

ALWAYS = 1_000_000


@dataclass(frozen=True, slots=True)
class Receiver:
    """An endpoint of the demo."""

    name: str
    temper: str
    patterns: tuple[str, ...]
    """What it subscribes to."""
    failures: int = 0
    """How often it fails each event before it takes it."""
    delay: float = 0.0
    """How many seconds it takes to answer."""

    def wants(self, event_type: str) -> bool:
        return not set(self.patterns).isdisjoint(patterns_matching(event_type))


RECEIVERS = (
    Receiver("good", "answers at once", ("*",)),
    Receiver("slow", "answers after a second", ("user.*",), delay=1.0),
    Receiver("flaky", "works at the 4th attempt", ("order.*", "stock.low"), failures=3),
    Receiver("down", "always fails", ("invoice.paid",), failures=ALWAYS),
)
