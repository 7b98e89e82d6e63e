"""What should have become of the events, compared with what did."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from config.demo.cast import Receiver
from config.demo.registration import Registration
from deliveries.event_lines import WrittenEvent
from subscriptions.ids import from_uuid, to_uuid

ENDS = """
    SELECT delivery.event_id, delivery.state, delivery.attempt_number, letter.reason
      FROM deliveries_delivery delivery
      LEFT JOIN deliveries_deadletter letter ON letter.delivery_id = delivery.id
     WHERE delivery.endpoint_id = %s
"""
ARRIVALS = "SELECT event, type, data FROM receivers_arrival WHERE receiver = %s"


@dataclass(frozen=True, slots=True)
class End:
    """How the delivery of an event ended."""

    event: str
    state: str
    attempts: int
    reason: str | None = None

    def __str__(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        return f"{self.state}{reason} at attempt {self.attempts}"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One call of a receiver's handler."""

    event: str
    type: str
    data: Any


def ends(angarium: "psycopg.Connection[Any]", registration: Registration) -> list[End]:
    rows = angarium.execute(ENDS, [to_uuid(registration.endpoint)]).fetchall()
    return [End(from_uuid("evt", event), *rest) for event, *rest in rows]


def arrivals(receivers: "psycopg.Connection[Any]", registration: Registration) -> list[Arrival]:
    rows = receivers.execute(ARRIVALS, [registration.receiver.name]).fetchall()
    return [Arrival(*row) for row in rows]


def differences(
    receiver: Receiver,
    emitted: Iterable[WrittenEvent],
    ends: Sequence[End],
    arrivals: Sequence[Arrival],
    *,
    max_attempts: int,
) -> Iterator[str]:
    """Say how a receiver's deliveries differ from what they should have come to."""
    wanted = [event for event in emitted if receiver.wants(event.type)]
    works = receiver.failures < max_attempts
    should = (
        End("", "delivered", receiver.failures + 1)
        if works
        else End("", "dead", max_attempts, "exhausted")
    )
    found = Counter(str(end) for end in ends)
    if found != Counter({str(should): len(wanted)}):
        counts = ", ".join(f"{count} {end}" for end, count in found.items()) or "none"
        yield f"{receiver.name}: expected {len(wanted)} {should}; there are {counts}."

    handled = Counter(arrival.event for arrival in arrivals)
    if doubled := sum(count > 1 for count in handled.values()):
        yield f"{receiver.name}: the handler ran more than once for {doubled} events."
    if handled.keys() != {end.event for end in ends if end.state == "delivered"}:
        yield f"{receiver.name}: the handler ran for other events than were delivered."

    sent = Counter(_content(event) for event in wanted if works)
    got = Counter(_content(arrival) for arrival in arrivals)
    if sent != got:
        yield (
            f"{receiver.name}: {(sent - got).total()} events emitted did not arrive, "
            f"{(got - sent).total()} arrived that were not emitted so."
        )


def _content(event: WrittenEvent | Arrival) -> tuple[str, str]:
    return event.type, json.dumps(event.data, sort_keys=True)
