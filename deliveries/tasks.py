"""The Celery tasks. They call the domain and hold no rules of their own."""

import logging
from typing import Any

from celery import Task, shared_task

from deliveries import (
    batching,
    bell,
    dead_letters,
    erasing,
    handshakes,
    plain_lane,
    replays,
    retention,
    sampling,
    sweeps,
)
from deliveries.fan_out import fan_out_chunk
from subscriptions.ids import to_uuid

logger = logging.getLogger(__name__)


@shared_task(
    name=bell.DELIVER,
    bind=True,
    acks_late=True,
    max_retries=None,
    ignore_result=True,
)
def deliver(self: "Task[Any, None]", delivery: str) -> None:
    """Attempt one delivery; retry by countdown where the wait is short."""
    wait = plain_lane.deliver(to_uuid(delivery), waited=self.request.eta is not None)
    if wait is not None:
        raise self.retry(countdown=bell.countdown(wait), priority=bell.RETRY_PRIORITY)


@shared_task(name=bell.FAN_OUT, acks_late=True, ignore_result=True)
def fan_out(event: str) -> None:
    """Make and enqueue an event's deliveries, chunk by chunk."""
    while (made := fan_out_chunk(event)) is not None:
        made.announce()


@shared_task(name=bell.FORM_BATCHES, acks_late=True, ignore_result=True)
def form_batches(endpoint: str) -> None:
    """Put together the batches of an endpoint that are full or have waited for long enough."""
    bell.ring(batching.form(to_uuid(endpoint)))


@shared_task(name=bell.HANDSHAKE, acks_late=True, ignore_result=True)
def handshake(endpoint: str) -> None:
    """Send an endpoint its challenge."""
    handshakes.shake(endpoint, plain_lane.start, done=lambda: None)


@shared_task(name=bell.REPLAY, acks_late=True, ignore_result=True)
def replay(replay: str) -> None:
    """Take a replay's next chunk, and ask for the one after when the rate allows it."""
    wait = replays.step(replay)
    if wait is not None:
        bell.ring_for_replays({replay: wait})


@shared_task(name="deliveries.sweep_due", ignore_result=True)
def sweep_due() -> None:
    """Enqueue what is due: deliveries, probes, challenges, replays; tell the operators."""
    sweeps.due()
    sweeps.probes()
    sweeps.due_handshakes()
    sweeps.due_replays()
    sweeps.notices()


@shared_task(name="deliveries.sweep_lost", ignore_result=True)
def sweep_lost() -> None:
    """Enqueue again what the broker has lost: pending deliveries and unfinished fan-outs."""
    sweeps.lost()
    sweeps.unfinished_fan_outs()


@shared_task(name="deliveries.sweep_stuck", ignore_result=True)
def sweep_stuck() -> None:
    """Take deliveries back from workers that died."""
    sweeps.stuck()


@shared_task(name="deliveries.sweep_held", ignore_result=True)
def sweep_held() -> None:
    """Release what is held for endpoints that are active again, or waits for others in vain."""
    sweeps.held()
    sweeps.dissolved()
    sweeps.queued()
    sweeps.batched()
    sweeps.gathered()


@shared_task(name="deliveries.sweep_health", ignore_result=True)
def sweep_health() -> None:
    """Warn of endpoints that have failed for long, disable others; note how long the queue is."""
    sweeps.failing_endpoints()
    sampling.sample_queue()


@shared_task(name="deliveries.sweep_dead_letters", ignore_result=True)
def sweep_dead_letters() -> None:
    """Redrive the dead letters of endpoints that recovered, drop the old, count the rest."""
    sweeps.recovered_dead_letters()
    sweeps.old_dead_letters()
    sweeps.count_dead_letters()


@shared_task(name="deliveries.sweep_expired", ignore_result=True)
def sweep_expired() -> None:
    """Give up what is held for too long; drop what is past its time."""
    sweeps.held_too_long()
    sweeps.expired_secrets()
    sweeps.expired_portal_sessions()
    sweeps.old_history()
    retention.deleted_endpoints()
    retention.old_replays()
    retention.ended_jobs()
    retention.old_admin_log()
    retention.old_queue_samples()


@shared_task(name="deliveries.sweep_old", ignore_result=True)
def sweep_old() -> None:
    """Drop the events and attempts that are past their retention."""
    retention.old_attempts()
    retention.old_events()


@shared_task(name="deliveries.sweep_jobs", ignore_result=True)
def sweep_jobs() -> None:
    """Carry on with what was asked for and is more than a request can do."""
    dead_letters.carry_on_all()
    erasing.carry_on_all()
