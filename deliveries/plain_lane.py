"""The plain lane: one delivery at a time, through requests, on any of Celery's pools."""

import logging
import time
from collections.abc import Callable
from functools import cache
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection

from deliveries import bell, tracing, turns
from deliveries.conf import DeliverySettings
from deliveries.pipeline import Claim, Lease, claim, put_back, record
from deliveries.rendering import Unrenderable, render
from deliveries.turns import Waiter
from subscriptions.conf import SubscriptionSettings, part
from webhooks.sending.outcome import Outcome, OutgoingRequest
from webhooks.sending.requests_sender import RequestsSender

RECOVERY = 1.0
"""Seconds until a record that failed is tried again."""

logger = logging.getLogger(__name__)


def deliver(delivery: UUID, *, waited: bool = False) -> float | None:
    """Attempt a delivery, if it is due and nobody else's, and has its turn at its endpoint.

    `waited` says that it comes after a countdown. Returns after how many seconds it wants another,
    if it does: nobody waits for a turn here, where nothing else could be sent meanwhile.
    """
    claims = claim([delivery])
    if not claims:
        return None
    [ours] = claims
    wait = _turn(ours, waited)
    if wait > 0:
        longest = part(DeliverySettings).retry_countdown_max
        put_back([(ours.lease, wait)], remembered=longest)
        return wait if wait <= longest else None
    waits = _record(ours.lease, _attempt(ours))
    own = waits.pop(delivery, None)
    if waits:
        bell.ring_later(waits)
    return own


def _turn(claim: Claim, waited: bool) -> float:
    """How long until it comes again; 0 where it may be sent now."""
    if claim.pace is None:
        return 0.0
    delivery = claim.lease.delivery
    waiter = Waiter(delivery, claim.lease.endpoint, claim.pace, waited)
    # One that comes again has its turn though its message came before.
    early = bell.punctuality() if waited else 0.0
    wait = turns.waits(turns.SENDING, [waiter], patience=early)[delivery]
    return wait if wait > early else 0.0


def _attempt(claim: Claim) -> Outcome:
    try:
        request = render(claim, timestamp=claim.claimed_at)
    except Unrenderable as error:
        return error.outcome
    request, ended = tracing.attempt(claim, request, lambda outcome: outcome)
    return ended(_send(request))


def _record(lease: Lease, outcome: Outcome) -> dict[UUID, float]:
    """What the database refuses to record just then is tried again until the lease runs out."""
    until = time.monotonic() + part(DeliverySettings).lease_margin
    while True:
        try:
            return record([(lease, outcome)])
        except (OperationalError, InterfaceError):
            if time.monotonic() + RECOVERY > until:
                raise
            logger.exception("recording failed; it is tried again")
            connection.close()
            time.sleep(RECOVERY)


def start(request: OutgoingRequest, ended: Callable[[Outcome], None]) -> None:
    """Send what is no delivery, and tell what came of it."""
    ended(_send(request))


def _send(request: OutgoingRequest) -> Outcome:
    return requests_sender(part(SubscriptionSettings), part(DeliverySettings)).send(request)


# One for each process, so that connections to endpoints are kept alive from task to task.
@cache
def requests_sender(
    subscriptions: SubscriptionSettings, deliveries: DeliverySettings
) -> RequestsSender:
    return RequestsSender(
        policy=subscriptions.address_policy(),
        proxy=subscriptions.proxy(),
        limits=deliveries.limits(),
        user_agent=deliveries.user_agent,
        ca_bundle=deliveries.ca_bundle or None,
    )
