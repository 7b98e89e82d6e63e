"""Claim deliveries, record what came of them: set-based, a list in, a list out.

A claim raises the delivery's attempt number and gives a lease. The number fences: what a worker
records counts only while the delivery is still at the number that the worker was given.
"""

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from uuid_utils.compat import uuid7

from deliveries import batching, ordering, telling
from deliveries.conf import DeliverySettings
from deliveries.lifecycle import FINAL, Reason, Verdict, verdict
from deliveries.pace import Pace, pace_of
from subscriptions import breaker
from subscriptions.conf import part
from subscriptions.health import note_health
from subscriptions.ids import moment_of
from subscriptions.shapes import Shape
from webhooks.sending.outcome import Outcome

# Each locks its rows by their ids, and asks for their state only then. Asked for both at once, the
# planner reads all that is pending, or sending, wherever its statistics call that little.

CLAIM = """
    WITH free AS (
        SELECT id, endpoint_id, state, next_attempt_at FROM deliveries_delivery
         WHERE id = ANY(%(ids)s)
         ORDER BY id
           FOR NO KEY UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE deliveries_delivery delivery
           SET state = CASE WHEN goes.now THEN 'sending'
                            WHEN endpoint.state = 'deleted' THEN 'discarded'
                            ELSE 'held' END,
               attempt_number = attempt_number + goes.now::int,
               lease_expires_at = CASE WHEN goes.now
                                       THEN now() + make_interval(secs => %(lease)s) END,
               ended_at = CASE WHEN endpoint.state = 'deleted' THEN now() END,
               next_attempt_at = NULL,
               rung_at = NULL
          FROM free
          JOIN subscriptions_endpoint endpoint ON endpoint.id = free.endpoint_id
         CROSS JOIN LATERAL (
            SELECT endpoint.takes_deliveries
                   OR (endpoint.state = 'active'
                       AND endpoint.probe IS NOT DISTINCT FROM free.id) AS now) goes
         WHERE delivery.id = free.id
           AND (free.state = 'pending'
                -- A second's grace: a countdown's clock is the worker's, the row's the database's.
                OR free.state = 'waiting'
                   AND free.next_attempt_at <= now() + interval '1 second')
     RETURNING delivery.id, delivery.event_id, delivery.endpoint_id, delivery.attempt_number,
               delivery.round_start, delivery.batch_size, delivery.ordering_key, delivery.state,
               CASE endpoint.probe WHEN delivery.id THEN endpoint.openings END AS probes,
               endpoint.url, endpoint.max_in_flight, endpoint.rate, endpoint.burst,
               endpoint.credentials,
               endpoint.signature_profile, endpoint.format, endpoint.payload, endpoint.projection,
               endpoint.gzip_above, endpoint.send_traceparent,
               coalesce(endpoint.batch_events, delivery.batch_size) IS NOT NULL AS batched
    )
    SELECT claimed.id, claimed.endpoint_id, claimed.attempt_number, claimed.round_start,
           claimed.batch_size, claimed.ordering_key, claimed.probes, claimed.url,
           coalesce(claimed.max_in_flight, %(max_in_flight)s), claimed.rate, claimed.burst,
           ARRAY(SELECT secret.ciphertext FROM subscriptions_signingsecret secret
                  WHERE secret.endpoint_id = claimed.endpoint_id
                    AND (secret.expires_at IS NULL OR secret.expires_at > now())
                  ORDER BY secret.id DESC),
           claimed.credentials, claimed.signature_profile, claimed.send_traceparent,
           claimed.format, claimed.payload, claimed.projection, claimed.gzip_above, claimed.batched,
           extract(epoch FROM now())::bigint,
           event.id, event.type, event.occurred_at, event.payload, event.traceparent
      FROM claimed JOIN deliveries_event event ON event.id = claimed.event_id
     WHERE claimed.state = 'sending'
"""

# What each batch carries beside its lead's own event.
MEMBERS = """
    SELECT delivery.lead_id, event.id, event.type, event.occurred_at, event.payload,
           event.traceparent
      FROM deliveries_delivery delivery JOIN deliveries_event event ON event.id = delivery.event_id
     WHERE delivery.lead_id = ANY(%s) AND delivery.state = 'batched'
     ORDER BY delivery.id
"""

RECORD = """
    WITH result AS (
        SELECT * FROM json_to_recordset(%(results)s) AS result (
            id uuid, number int, state text, wait float8, outcome text, status int, duration int,
            dns int, connect int, tls int, first_byte int, error text, body text, headers text,
            reason text, dead_id uuid)
    ), held AS (
        SELECT id, state, attempt_number FROM deliveries_delivery
         WHERE id = ANY(%(ids)s)
         ORDER BY id
           FOR NO KEY UPDATE
    ), recorded AS (
        UPDATE deliveries_delivery delivery
           SET state = result.state,
               lease_expires_at = NULL,
               next_attempt_at = now() + make_interval(secs => result.wait),
               rung_at = CASE WHEN result.wait <= %(countdown_max)s
                              THEN now() + make_interval(secs => result.wait) END,
               ended_at = CASE WHEN result.state = ANY(%(final)s) THEN now() END
          FROM held JOIN result USING (id)
         WHERE delivery.id = held.id
           AND held.state = 'sending' AND held.attempt_number = result.number
     RETURNING result.*, delivery.event_id
    ), attempted AS (
        INSERT INTO deliveries_attempt
               (delivery_id, number, outcome, status, duration_ms, dns_ms, connect_ms, tls_ms,
                first_byte_ms, error, response_body, response_headers, ended_at)
        SELECT id, number, outcome, status, duration, dns, connect, tls,
               first_byte, error, body, headers, now() FROM recorded
    ), buried AS (
        INSERT INTO deliveries_deadletter
               (id, delivery_id, reason, last_error, died_at, resolution)
        SELECT dead_id, id, reason, error, now(), '' FROM recorded WHERE state = 'dead'
    )
    SELECT id, event_id, extract(epoch FROM now())::float8 FROM recorded
"""

PUT_BACK = """
    WITH held AS (
        SELECT id, state, attempt_number FROM deliveries_delivery
         WHERE id = ANY(%(ids)s)
         ORDER BY id
           FOR NO KEY UPDATE
    )
    UPDATE deliveries_delivery delivery
       SET state = 'waiting',
           attempt_number = held.attempt_number - 1,
           lease_expires_at = NULL,
           next_attempt_at = now() + make_interval(secs => result.wait),
           rung_at = CASE WHEN result.wait <= %(remembered)s
                          THEN now() + make_interval(secs => result.wait) END
      FROM held
      JOIN unnest(%(ids)s::uuid[], %(numbers)s::int[], %(waits)s::float8[])
           AS result (id, number, wait) USING (id)
     WHERE delivery.id = held.id
       AND held.state = 'sending' AND held.attempt_number = result.number
"""


FORGET = """
    UPDATE deliveries_delivery SET rung_at = NULL
     WHERE id IN (SELECT id FROM deliveries_delivery
                   WHERE id = ANY(%s) AND state = 'waiting' AND rung_at = next_attempt_at
                   ORDER BY id FOR NO KEY UPDATE)
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """A delivery that is ours to attempt for a while."""

    delivery: UUID
    endpoint: UUID
    attempt_number: int
    round_start: int
    batch_size: int | None = None
    """How many deliveries are in its batch, if it leads one."""
    ordering_key: str | None = None
    """The key of the queue of which it is the head."""
    probes: int | None = None
    """If it probes its endpoint, whose circuit is half-open: how often that has opened."""

    @property
    def tries(self) -> int:
        """Which try of the retry schedule this is, from 1."""
        return self.attempt_number - self.round_start


@dataclass(frozen=True, slots=True)
class ClaimedEvent:
    """An event to be sent; its id alone tells it from others."""

    id: UUID
    type: str = field(compare=False)
    occurred_at: datetime = field(compare=False)
    payload: str = field(compare=False, repr=False)
    """The JSON text of its data."""
    traceparent: str | None = field(default=None, compare=False)
    """The trace in which it was emitted."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease, and all that the attempt needs."""

    lease: Lease
    url: str
    max_in_flight: int
    secrets: Sequence[str] = field(repr=False)
    """The endpoint's signing secrets, newest first, as they are stored: encrypted."""
    credentials: str | None = field(repr=False)
    """The endpoint's custom headers and authentication, as they are stored: encrypted."""
    signature_profile: str
    send_traceparent: bool
    shape: Shape
    claimed_at: int
    """By the database's clock, in seconds since the epoch: what the attempt is signed with."""
    events: tuple[ClaimedEvent, ...]
    """One, or those of a batch."""
    pace: Pace | None = None
    """How fast the endpoint takes requests, if it says so."""


def claim(deliveries: Iterable[UUID]) -> list[Claim]:
    """Take those of `deliveries` that are due and that nobody else has.

    Those whose endpoint is paused or disabled, or its circuit open, become held, those whose
    endpoint is deleted become discarded; neither uses up an attempt.
    """
    settings = part(DeliverySettings)
    with connection.cursor() as cursor:
        cursor.execute(
            CLAIM,
            {
                "ids": list(deliveries),
                "lease": settings.lease,
                "max_in_flight": settings.endpoint_max_in_flight,
            },
        )
        claimed = cursor.fetchall()
        leads = [row[0] for row in claimed if row[4]]
        members: dict[UUID, list[ClaimedEvent]] = defaultdict(list)
        if leads:
            cursor.execute(MEMBERS, [leads])
            for lead, *event in cursor.fetchall():
                members[lead].append(ClaimedEvent(*event))
    return [_claim(row, members.get(row[0], ())) for row in claimed]


def _claim(row: tuple[Any, ...], others: Iterable[ClaimedEvent]) -> Claim:
    url, max_in_flight, rate, burst, secrets, credentials = row[7:13]
    signature_profile, send_traceparent = row[13:15]
    return Claim(
        lease=Lease(*row[:7]),
        url=url,
        max_in_flight=max_in_flight,
        secrets=secrets,
        credentials=credentials,
        signature_profile=signature_profile,
        send_traceparent=send_traceparent,
        shape=Shape.of(*row[15:20]),
        claimed_at=row[20],
        events=(ClaimedEvent(*row[21:]), *others),
        pace=pace_of(rate, burst),
    )


def record(results: Sequence[tuple[Lease, Outcome]]) -> dict[UUID, float]:
    """Write down the outcomes of attempts: attempt rows, states, dead letters, endpoints' health.

    Returns the deliveries that want a message, each after so many seconds: those to be retried by
    countdown, the leads of batches that were halved, and the heads of ordered queues. Longer waits
    are parked in their rows, for the sweep to find when they are due. The outcome of a lease that
    ran out, so that the delivery may be another's by now, is dropped.
    """
    settings = part(DeliverySettings)
    verdicts = [
        verdict(
            outcome,
            tries=lease.tries,
            settings=settings,
            random=random.random,
            batch=lease.batch_size is not None,
        )
        for lease, outcome in results
    ]
    rows = [
        {
            "id": str(lease.delivery),
            "number": lease.attempt_number,
            "state": verdict.state.value,
            "wait": verdict.wait,
            "outcome": outcome.kind.value,
            "status": outcome.status,
            "duration": outcome.duration_ms,
            "dns": outcome.timings.dns,
            "connect": outcome.timings.connect,
            "tls": outcome.timings.tls,
            "first_byte": outcome.timings.first_byte,
            "error": outcome.error,
            "body": outcome.response_body,
            "headers": outcome.response_headers,
            "reason": verdict.reason and verdict.reason.value,
            "dead_id": str(uuid7()) if verdict.reason else None,
        }
        for (lease, outcome), verdict in zip(results, verdicts, strict=True)
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            RECORD,
            {
                "ids": [lease.delivery for lease, _ in results],
                # One text costs a fraction of an array for each column.
                "results": json.dumps(rows),
                "countdown_max": settings.retry_countdown_max,
                "final": [state.value for state in FINAL],
            },
        )
        recorded = {delivery: (event, now) for delivery, event, now in cursor.fetchall()}
        ours = [
            (lease, outcome, verdict)
            for (lease, outcome), verdict in zip(results, verdicts, strict=True)
            if lease.delivery in recorded
        ]
        note_health(
            succeeded={lease.endpoint for lease, outcome, _ in ours if outcome.succeeded},
            failed={lease.endpoint for lease, outcome, _ in ours if outcome.endpoint_failed},
            gone={lease.endpoint for lease, _, verdict in ours if verdict.reason is Reason.GONE},
        )
        probed = [_probed(*one) for one in ours if one[0].probes]
        if probed:
            breaker.settle(probed)
        telling.attempted(
            [
                _attempted(lease, outcome, verdict, *recorded[lease.delivery])
                for lease, outcome, verdict in ours
            ]
        )
        leads = [(lease.delivery, verdict) for lease, _, verdict in ours if lease.batch_size]
        new = _settle(leads) if leads else []
    breaker.count(_results(ours))
    queues = [
        (lease.endpoint, lease.ordering_key)
        for lease, _, verdict in ours
        if lease.ordering_key is not None and verdict.state in FINAL
    ]
    if queues:
        new += ordering.advance(queues)
    return {
        lease.delivery: verdict.wait
        for lease, _, verdict in ours
        if verdict.wait is not None and verdict.wait <= settings.retry_countdown_max
    } | dict.fromkeys(new, 0.0)


def _attempted(
    lease: Lease, outcome: Outcome, verdict: Verdict, event: UUID, now: float
) -> telling.Attempted:
    return telling.Attempted(
        event=event,
        delivery=lease.delivery,
        endpoint=lease.endpoint,
        number=lease.attempt_number,
        outcome=outcome,
        verdict=verdict,
        age=now - moment_of(event).timestamp(),
    )


def _results(ours: Iterable[tuple[Lease, Outcome, Verdict]]) -> list[breaker.Result]:
    """What the attempts say of their endpoints. A batch that was too large says nothing."""
    return [
        breaker.Result(lease.endpoint, outcome.endpoint_failed, outcome.retry_after or 0.0)
        for lease, outcome, verdict in ours
        if not lease.probes and not verdict.halve and (outcome.succeeded or outcome.endpoint_failed)
    ]


def _probed(lease: Lease, outcome: Outcome, verdict: Verdict) -> breaker.Probed:
    tells = outcome.succeeded or (outcome.endpoint_failed and not verdict.halve)
    return breaker.Probed(
        endpoint=lease.endpoint,
        delivery=lease.delivery,
        openings=lease.probes or 0,
        failed=outcome.endpoint_failed if tells else None,
        retry_after=outcome.retry_after or 0.0,
    )


def _settle(leads: Sequence[tuple[UUID, Verdict]]) -> list[UUID]:
    """See to those that share a lead's fate; returns the leads of new batches."""
    ended = [lead for lead, verdict in leads if verdict.state in FINAL]
    if ended:
        batching.follow(ended)
    too_large = [lead for lead, verdict in leads if verdict.halve]
    return batching.halve(too_large) if too_large else []


def put_back(leases: Sequence[tuple[Lease, float]], *, remembered: float = -1.0) -> None:
    """Give claims back that were not attempted, each to be due again after some seconds.

    The attempt number goes back too, so that none is used up: only the holder of a live lease may
    do this, and never attempts with it after. Whoever sees to it that those with waits up to
    `remembered` seconds come again says so; the sweep finds the others when they are due.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            PUT_BACK,
            {
                "ids": [lease.delivery for lease, _ in leases],
                "numbers": [lease.attempt_number for lease, _ in leases],
                "waits": [wait for _, wait in leases],
                "remembered": remembered,
            },
        )


def forget(deliveries: Sequence[UUID]) -> None:
    """Leave it to the sweep to find, when they are due, deliveries that were remembered."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET, [list(deliveries)])
