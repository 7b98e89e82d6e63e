"""Deliveries as streams on an event loop: claim, send, record, each step for many at once."""

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from kombu.asynchronous import Hub

from deliveries import bell, tracing, turns
from deliveries.conf import DeliverySettings
from deliveries.courier.agenda import Agenda
from deliveries.courier.clock import LoopClock
from deliveries.courier.gate import Gate
from deliveries.pipeline import Claim, Lease, claim, forget, put_back, record
from deliveries.rendering import Unrenderable, render
from deliveries.turns import Waiter
from subscriptions.conf import part
from webhooks.sending.curl_sender import CurlSender
from webhooks.sending.outcome import Outcome

logger = logging.getLogger(__name__)

BATCH = 100
"""Deliveries claimed, or recorded, in one statement at most."""

GATHERING = 0.003
"""Seconds in which a batch gathers while the courier is busy; one that is idle does not wait."""

RECOVERY = 1.0
"""Seconds until a statement that failed is tried again."""

TURN = 0.05
"""Seconds that the loop may sleep at most while the courier runs it."""

TICK = 0.05
"""Seconds between two looks at whose turn has come, at endpoints that have a rate."""

PATIENCE = 1.0
"""Seconds that a delivery which has been claimed may wait for its turn at most."""

REMEMBERED = 10_000
"""How many deliveries that are to come again are remembered; the sweep finds the others."""

GATEKEEPING = 0.25
"""Seconds between two looks at who waits too long at the gates."""


@dataclass(eq=False, slots=True)
class Parcel:
    """A delivery on its way through the courier."""

    delivery: UUID
    done: Callable[[], None]
    """To be called when the message may be acknowledged."""
    claim: Claim | None = None
    waited: bool = False
    """Whether it comes again, now that its turn at an endpoint with a rate has come."""


class Step:
    """What the courier does from time to time, with all that has gathered: planned once at most."""

    def __init__(self, hub: Hub, take: Callable[[], None]) -> None:
        self._hub = hub
        self._take = take
        self._timer: Any = None

    def plan(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._hub.call_later(seconds, self._run)

    def plan_again(self) -> None:
        """See to it that the loop still knows of the step, if one is planned."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._hub.call_later(0, self._run)

    def _run(self) -> None:
        self._timer = None
        self._take()


class Courier:
    """Takes deliveries in by `submit`, with at most `limit` in flight.

    What the database refuses to claim or record just then is tried again, and holds its place
    meanwhile, so that a database that is away slows the courier down and loses nothing.
    """

    def __init__(self, hub: Hub, sender: CurlSender, *, limit: int) -> None:
        self.hub = hub
        self.sender = sender
        self.limit = limit
        self.closing = False
        self.submitted: deque[Parcel] = deque()
        self.claimed = 0
        """How many are between claim and record."""
        self.ended: list[tuple[Parcel, Lease, Outcome]] = []
        self.gates: dict[UUID, Gate[Parcel]] = {}
        self.clock = LoopClock()
        """By which the gates judge how long an endpoint takes."""
        hub.on_tick.add(self.clock.read)  # type: ignore[attr-defined]  # a set, not a list
        self.turns: Agenda[Parcel] = Agenda()
        """Those that have been claimed and wait for their turn."""
        self.returns: Agenda[Parcel] = Agenda()
        """Those that went back, and are to be claimed when their turn comes."""
        self._calling = Step(hub, self._call)
        self._claiming = Step(hub, self._claim)
        self._recording = Step(hub, self._record)
        self._gatekeeping = Step(hub, self._keep_gates)

    def submit(self, delivery: UUID, done: Callable[[], None]) -> None:
        """Deliver; `done` is called once the rows say what came of it."""
        self.submitted.append(Parcel(delivery, done))
        self._plan_claim()

    def drain(self, until: float) -> None:
        """Take nothing more in, and run the loop until all in flight is recorded, or it is late.

        What is not done by `until` (of time.monotonic) goes back to its rows.
        """
        self.closing = True
        self.submitted.clear()
        self.carry_on(until)
        for _ in range(0, len(self.ended), BATCH):
            self._record()
        claimed = [
            *self.turns.clear(),
            *(one for gate in self.gates.values() for one in (*gate.under_way, *gate.waiting)),
        ]
        left = [(parcel.claim.lease, 0.0) for parcel in claimed if parcel.claim]
        if left:
            logger.warning("%d deliveries did not end in time and go back", len(left))
            _put_back(left)
        _forget([parcel.delivery for parcel in self.returns.clear()])
        self.sender.close()

    def carry_on(self, until: float) -> None:
        """Run the loop, which Celery does not, until nothing is in flight or it is `until`."""
        # Or the loop might sleep for seconds after the last has been recorded, or time is up.
        turns = self.hub.call_repeatedly(TURN, lambda: None)
        while self.claimed and time.monotonic() < until:
            # Where the broker is lost, the loop has been reset.
            self.resume()
            try:
                loop = self.hub.create_loop()
                while self.claimed and time.monotonic() < until:
                    next(loop)
            except Exception:
                logger.exception("the loop broke, and what is in flight goes on in a new one")
                with suppress(Exception):
                    self.hub.reset()
        turns.cancel()

    def resume(self) -> None:
        """Go on after the loop has been reset, and may have forgotten what it was to call."""
        self.sender.watch_again()
        for step in (self._claiming, self._recording, self._gatekeeping, self._calling):
            step.plan_again()

    # Claiming

    def _plan_claim(self) -> None:
        if self.submitted and self._room() > 0 and not self.closing:
            self._claiming.plan(GATHERING if self.claimed else 0)

    def _room(self) -> int:
        # Whoever waits for a turn holds up nobody.
        return self.limit - (self.claimed - len(self.turns))

    def _claim(self) -> None:
        if self.closing:
            return
        size = min(BATCH, len(self.submitted), self._room())
        parcels = [self.submitted.popleft() for _ in range(size)]
        by_delivery = {parcel.delivery: parcel for parcel in parcels}
        try:
            claims = claim(by_delivery)
        except Exception:
            logger.exception("claiming failed; it is tried again")
            connection.close()
            self.submitted.extendleft(reversed(parcels))
            self._claiming.plan(RECOVERY)
            return
        for ours in claims:
            by_delivery[ours.lease.delivery].claim = ours
        self.claimed += len(claims)
        paced = []
        for parcel in parcels:
            if parcel.claim is None:
                parcel.done()  # it is another's, or not due, or at rest
            elif parcel.claim.pace is None:
                self._enter(parcel, parcel.claim)
            else:
                paced.append((parcel, parcel.claim))
        if paced:
            self._give_turns(paced)
        self._plan_claim()

    # Turns

    def _give_turns(self, paced: list[tuple[Parcel, Claim]]) -> None:
        # The more of them wait here already, the sooner others go back.
        patience = PATIENCE * max(0.0, 1 - len(self.turns) / self.limit)
        waits = turns.waits(
            turns.SENDING,
            [
                Waiter(parcel.delivery, ours.lease.endpoint, ours.pace, parcel.waited)
                for parcel, ours in paced
            ],
            patience=patience,
        )
        now = time.monotonic()
        returns = []
        for parcel, ours in paced:
            wait = waits[ours.lease.delivery]
            if wait <= 0:
                self._enter(parcel, ours)
            elif wait <= patience:
                self.turns.add(now + wait, parcel)
            else:
                returns.append((parcel, ours.lease, wait))
        if returns:
            self._come_again(returns, now)
        self._plan_call()

    def _come_again(self, returns: list[tuple[Parcel, Lease, float]], now: float) -> None:
        may_remember = len(self.returns) + len(returns) <= REMEMBERED
        remembered = part(DeliverySettings).retry_countdown_max if may_remember else -1.0
        if _put_back([(lease, wait) for _, lease, wait in returns], remembered=remembered):
            for parcel, _, wait in returns:
                if wait <= remembered:
                    again = Parcel(parcel.delivery, done=_nothing, waited=True)
                    self.returns.add(now + wait, again)
        self._finish([parcel for parcel, _, _ in returns])

    def _plan_call(self) -> None:
        if self.turns or (self.returns and not self.closing):
            self._calling.plan(TICK)

    def _call(self) -> None:
        now = time.monotonic()
        for parcel in self.turns.due(now):
            if self._room() <= 0:
                self.turns.add(now + TICK, parcel)
            elif parcel.claim is not None:
                self._enter(parcel, parcel.claim)
        if not self.closing:
            # They have waited, and go before what has just come.
            self.submitted.extendleft(reversed(self.returns.due(now)))
            self._plan_claim()
        self._plan_call()

    # Sending

    def _enter(self, parcel: Parcel, ours: Claim) -> None:
        gate = self.gates.get(ours.lease.endpoint)
        if gate is None:
            gate = self.gates[ours.lease.endpoint] = Gate(ours.max_in_flight)
        gate.limit = ours.max_in_flight
        if gate.enter(parcel, self.clock.read()):
            self._send(parcel, ours)
        else:
            self._gatekeeping.plan(GATEKEEPING)

    def _send(self, parcel: Parcel, ours: Claim) -> None:
        def ended(outcome: Outcome) -> None:
            self._ended(parcel, ours, outcome)

        try:
            request = render(ours, timestamp=ours.claimed_at)
        except Unrenderable as error:
            self.hub.call_later(0, ended, error.outcome)
        else:
            self.sender.start(*tracing.attempt(ours, request, ended))

    def _ended(self, parcel: Parcel, ours: Claim, outcome: Outcome) -> None:
        endpoint = ours.lease.endpoint
        gate = self.gates[endpoint]
        now = self.clock.read()
        taken = outcome.succeeded
        for following in gate.leave(parcel, now, throttled=outcome.throttles, taken=taken):
            if following.claim is not None:
                self._send(following, following.claim)
        if gate.idle and len(self.gates) > self.limit:
            del self.gates[endpoint]
        self.ended.append((parcel, ours.lease, outcome))
        self._plan_record()

    # Recording

    def _plan_record(self) -> None:
        more_to_come = self.claimed > len(self.ended)
        self._recording.plan(GATHERING if more_to_come else 0)

    def _record(self) -> None:
        batch, self.ended = self.ended[:BATCH], self.ended[BATCH:]
        try:
            retries = record([(lease, outcome) for _, lease, outcome in batch])
        except Exception:
            logger.exception("recording failed; it is tried again")
            connection.close()
            self.ended[:0] = batch
            self._recording.plan(RECOVERY)
            return
        if retries:
            bell.ring_later(retries)
        self._finish([parcel for parcel, _, _ in batch])
        if self.ended:
            self._plan_record()

    def _finish(self, parcels: list[Parcel]) -> None:
        self.claimed -= len(parcels)
        for parcel in parcels:
            parcel.done()
        self._plan_claim()

    # Gatekeeping

    def _keep_gates(self) -> None:
        now = self.clock.read()
        returns: list[tuple[Parcel, float]] = [
            one for gate in self.gates.values() if gate.waiting for one in gate.send_back(now)
        ]
        if returns:
            _put_back([(p.claim.lease, wait) for p, wait in returns if p.claim])
            self._finish([parcel for parcel, _ in returns])
        if any(gate.waiting for gate in self.gates.values()):
            self._gatekeeping.plan(GATEKEEPING)


def _nothing() -> None:
    """The message of what comes again has been acknowledged."""


def _put_back(leases: list[tuple[Lease, float]], *, remembered: float = -1.0) -> bool:
    try:
        put_back(leases, remembered=remembered)
    except Exception:
        # Their leases will run out, and the sweep takes them back.
        logger.exception("putting back failed")
        connection.close()
        return False
    return True


def _forget(deliveries: list[UUID]) -> None:
    if deliveries:
        try:
            forget(deliveries)
        except Exception:
            logger.exception("what was to come again comes somewhat later")
            connection.close()


def statistics(courier: Courier) -> dict[str, Any]:
    """What `celery inspect stats` shows of the courier."""
    return {
        "submitted": len(courier.submitted),
        "claimed": courier.claimed,
        "in-flight": sum(len(gate.under_way) for gate in courier.gates.values()),
        "waiting-for-their-turn": len(courier.turns),
        "to-come-again": len(courier.returns),
        "waiting-at-gates": sum(len(gate.waiting) for gate in courier.gates.values()),
    }
