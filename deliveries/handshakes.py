"""Handshakes: send an endpoint its challenge, and let it have deliveries once it repeats that."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from deliveries import bell
from deliveries.conf import DeliverySettings
from deliveries.probing import probe
from deliveries.rendering import Unrenderable
from subscriptions.conf import part
from subscriptions.models import Endpoint, Handshake
from subscriptions.shapes import Shape
from webhooks.handshake import HANDSHAKE_TYPE, new_challenge, repeats
from webhooks.sending.outcome import Outcome, OutgoingRequest
from webhooks.sending.tokens import Start

WAITS = (10.0, 60.0, 600.0, 3600.0)
"""Seconds before the second, third, … try; one try more than it has entries."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Try:
    """One try of a handshake, which is ours to make for a while."""

    endpoint: Endpoint
    required_at: datetime
    number: int
    challenge: str = field(default_factory=new_challenge, repr=False)


def ring_after_commit(instance: Handshake, **_: Any) -> None:
    """Have a worker send the challenge of a handshake that was just saved, if it is due."""
    if instance.due_at is not None:
        transaction.on_commit(lambda: bell.ring_for_handshakes([instance.pk]), robust=True)


def shake(endpoint: str, start: Start, done: Callable[[], None]) -> None:
    """Send an endpoint its challenge by `start`, if it is due; `done` is called when that is over.

    Raises nothing: what is not on record then, the sweep has tried again.
    """
    begun = None
    with _survived():
        begun = _begin(endpoint)
    if begun is None:
        done()
        return
    ours, request = begun

    def ended(outcome: Outcome) -> None:
        with _survived():
            record(ours, outcome)
        done()

    start(request, ended)


def _begin(endpoint: str) -> tuple[Try, OutgoingRequest] | None:
    ours = take(endpoint)
    if ours is None:
        return None
    try:
        # Always in the standard shape, so that all receivers are asked in the same words.
        return ours, probe(ours.endpoint, HANDSHAKE_TYPE, {"challenge": ours.challenge}, Shape())
    except Unrenderable as error:
        record(ours, error.outcome)
        return None


def take(endpoint: str) -> Try | None:
    """Begin a try of an endpoint's handshake; None where none is due, or another is at it."""
    lease = timedelta(seconds=part(DeliverySettings).lease)
    handshakes = Handshake.objects.filter(pk=endpoint, endpoint__state=Endpoint.State.UNVERIFIED)
    with transaction.atomic():
        handshake = (
            handshakes.filter(due_at__lte=Now())
            .select_for_update(of=("self",), no_key=True, skip_locked=True)
            .select_related("endpoint")
            .first()
        )
        if handshake is None:
            return None
        Handshake.objects.filter(pk=endpoint).update(tries=F("tries") + 1, due_at=Now() + lease)
    return Try(handshake.endpoint, handshake.required_at, handshake.tries + 1)


def record(ours: Try, outcome: Outcome) -> None:
    """Write down how a try went; nothing, where the handshake has been required anew meanwhile."""
    repeated = outcome.succeeded and repeats(outcome.response_body, ours.challenge)
    error = outcome.error or ("" if repeated else "the answer does not repeat the challenge")
    over = repeated or ours.number > len(WAITS)
    with transaction.atomic():
        # The endpoint is locked before its handshake, as where it is changed.
        endpoint = Endpoint.objects.select_for_update(no_key=True).get(pk=ours.endpoint.pk)
        recorded = Handshake.objects.filter(
            pk=endpoint.pk, required_at=ours.required_at, tries=ours.number
        ).update(
            due_at=None if over else Now() + timedelta(seconds=WAITS[ours.number - 1]),
            tried_at=Now(),
            outcome=outcome.kind,
            status=outcome.status,
            error=error,
            response_body=outcome.response_body,
            verified_at=Now() if repeated else None,
        )
        if recorded and repeated and endpoint.state == Endpoint.State.UNVERIFIED:
            endpoint.state = Endpoint.State.ACTIVE
            endpoint.save(update_fields=["state"])


def due(limit: int) -> list[str]:
    """Endpoints whose challenge is to be sent now, the oldest first."""
    handshakes = Handshake.objects.filter(
        due_at__lte=Now(), endpoint__state=Endpoint.State.UNVERIFIED
    )
    return [one.endpoint_id for one in handshakes.only("endpoint").order_by("due_at")[:limit]]


@contextmanager
def _survived() -> Iterator[None]:
    try:
        yield
    except Exception:
        logger.exception("a handshake could not be read or recorded; it is tried again")
        connection.close()
