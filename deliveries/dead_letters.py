"""Dead letters by the query: all that match are redriven or discarded, however many there are.

That is a job in the database. Its first chunk is done at once, so that a few are over within the
request; the sweep carries on with the rest, from wherever a process left it.
"""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from uuid_utils.compat import uuid7

from deliveries import bell, operations
from deliveries.conf import DeliverySettings
from deliveries.models import DeadLetter, DeadLetterJob
from subscriptions.conf import part
from subscriptions.history import HistoryEntry
from subscriptions.ids import to_uuid
from subscriptions.models import Endpoint

Action = DeadLetterJob.Action
Selection = Mapping[str, Any]
"""Look-ups of dead letters, as in {"endpoint": "ep_…", "died_at__lt": a time}; all of them hold."""

OPERATIONS = {Action.REDRIVE: operations.redrive, Action.DISCARD: operations.discard}
NOTED_AS = {
    Action.REDRIVE: HistoryEntry.Action.REDRIVEN,
    Action.DISCARD: HistoryEntry.Action.DISCARDED,
}


def open_letters(selection: Selection) -> QuerySet[DeadLetter]:
    """The open dead letters that are meant."""
    return DeadLetter.objects.filter(resolution="", **selection)


def jobs_naming(ids: Collection[str]) -> QuerySet[DeadLetterJob]:
    """The jobs on the dead letters of one of these subscribers or endpoints, whoever asked."""
    return DeadLetterJob.objects.filter(
        Q(selection__subscriber__in=ids) | Q(selection__endpoint__in=ids)
    )


def begin(action: Action, selection: Selection, *, subscriber: str | None = None) -> DeadLetterJob:
    """Redrive or discard all open dead letters that are meant and are there now.

    The history has one entry for the job, by whoever asked for it. A bound API key's job is its
    `subscriber`'s: whoever binds the selection to it is the caller.
    """
    matched = open_letters(selection).count()
    with transaction.atomic():
        if matched:
            _note(action, selection, matched)
        job = DeadLetterJob.objects.create(
            action=action,
            selection=dict(selection),
            subscriber_id=subscriber,
            matched=matched,
            up_to=uuid7(),
        )
    return carry_on(job.pk, part(DeliverySettings).sweep_chunk) or job


def carry_on(job_id: str, limit: int) -> DeadLetterJob | None:
    """Do the next chunk of a job; None where it has ended, or somebody else is at it."""
    with transaction.atomic():
        unfinished = DeadLetterJob.objects.filter(pk=job_id, ended_at=None)
        job = unfinished.select_for_update(skip_locked=True, no_key=True).first()
        if job is None:
            return None
        meant = open_letters(job.selection).filter(pk__lte=job.up_to)
        if job.after is not None:
            meant = meant.filter(pk__gt=job.after)
        chunk = list(meant.order_by("pk").values_list("pk", "delivery")[:limit])
        deliveries: list[UUID] = [to_uuid(delivery) for _, delivery in chunk]
        job.changed += len(OPERATIONS[Action(job.action)](deliveries, noted=False))
        if chunk:
            job.after = to_uuid(chunk[-1][0])
        if len(chunk) < limit:
            job.ended_at = timezone.now()
        job.save(update_fields=["changed", "after", "ended_at"])
    return job


def carry_on_all() -> int:
    """Do a share of every unfinished job, the oldest first; returns how many they have changed.

    What is redriven has to fit into the queue: a million dead letters are no burst.
    """
    settings = part(DeliverySettings)
    left = settings.sweep_chunk * settings.sweep_chunks
    changed = 0
    for job in DeadLetterJob.objects.filter(ended_at=None).order_by("pk")[: settings.sweep_chunk]:
        room = bell.room() if job.action == Action.REDRIVE else left
        while (limit := min(settings.sweep_chunk, left, room)) > 0:
            after = carry_on(job.pk, limit)
            if after is None:
                break
            changed += after.changed - job.changed
            job, left, room = after, left - limit, room - limit
            if job.ended_at is not None:
                break
    return changed


def _note(action: Action, selection: Selection, matched: int) -> None:
    endpoint = selection.get("endpoint", "")
    owner = selection.get("subscriber") or selection.get("endpoint__subscriber") or ""
    if endpoint and not owner:
        found = Endpoint.objects.filter(pk=endpoint).values_list("subscriber", flat=True)
        owner = found.first() or ""
    HistoryEntry.objects.create(
        action=NOTED_AS[action],
        kind=HistoryEntry.Kind.DELIVERY,
        count=matched,
        endpoint=endpoint,
        subscriber=owner,
    )
