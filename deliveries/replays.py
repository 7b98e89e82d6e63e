"""Replays: a job that sends an endpoint again what it was sent, or at last what it never got.

The job is its row. A worker takes a chunk in one transaction, which also moves the cursor on: one
that dies has done all of its chunk or nothing. It asks for the next by a message that comes after
the wait that the rate wants; the sweep rings again for one that is lost, and a doubled one finds
nothing due. Nothing moves while the endpoint is at rest, or its circuit open, so that a replay adds
nothing to what is held.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from deliveries import bell
from deliveries.conf import DeliverySettings
from deliveries.fan_out import make_missed
from deliveries.models import DeadLetter, Replay
from deliveries.operations import send_again
from deliveries.replay_selection import Chunk, find
from subscriptions.conf import part
from subscriptions.dropping import drop_some
from subscriptions.filtering import note_failures
from subscriptions.history import HistoryEntry
from subscriptions.ids import from_uuid, to_uuid
from subscriptions.matching import Match
from subscriptions.models import Endpoint

State = Replay.State

GRACE = timedelta(seconds=0.1)
"""A message may come so much too early: its countdown goes by other clocks than the row."""

FULL_QUEUE_WAIT = 5.0
"""Seconds after which a replay looks again whether the queue has room."""

COUNT_LIMIT = 10_000
COUNT_PATIENCE = 5.0
"""A dry run counts up to so many, for so many seconds."""

ASKED = ["kind", "pattern", "states", "since", "until", "rate"]
"""What whoever starts a replay says of it."""

# Those of endpoints at rest are left until these are active again.
DUE = """
    UPDATE deliveries_replay SET due_at = now()
     WHERE id IN (
        SELECT replay.id FROM deliveries_replay replay
          JOIN subscriptions_endpoint endpoint ON endpoint.id = replay.endpoint_id
         WHERE replay.state = 'running'
           AND replay.due_at < now() - make_interval(secs => %(lost_after)s)
           AND endpoint.takes_deliveries
         ORDER BY replay.due_at LIMIT %(limit)s
           FOR NO KEY UPDATE OF replay SKIP LOCKED)
 RETURNING id
"""


class ReplayUnderWay(ValueError):
    """An endpoint has one replay at a time."""

    def __init__(self) -> None:
        super().__init__("The endpoint has a replay under way: let it finish, or cancel it.")


@dataclass(frozen=True, slots=True)
class Count:
    """How many a replay would send."""

    count: int
    exact: bool
    """Whether these are all; at least so many, where not."""

    def __str__(self) -> str:
        return f"{self.count:,}" if self.exact else f"{self.count:,} or more"


def start(replay: Replay) -> None:
    """Save a replay that is clean, and begin. Raises ReplayUnderWay."""
    try:
        with transaction.atomic():
            replay.due_at = Now()
            replay.save()
            said = {name: _shown(getattr(replay, name)) for name in ASKED}
            _note(replay, HistoryEntry.Action.CREATED, {n: [None, v] for n, v in said.items() if v})
            _ring_after_commit([replay.pk])
    except IntegrityError as error:
        if "replay_under_way_once_per_endpoint" not in str(error):
            raise
        raise ReplayUnderWay from error
    replay.refresh_from_db()


def pause(replays: Collection[str]) -> list[str]:
    """Let running ones rest until they are resumed; returns which they were."""
    return _change(replays, [State.RUNNING], State.PAUSED)


def resume(replays: Collection[str]) -> list[str]:
    """Go on with paused ones; returns which they were."""
    return _change(replays, [State.PAUSED], State.RUNNING)


def cancel(replays: Collection[str]) -> list[str]:
    """End those that are under way, for good; what they have sent stays. Returns which."""
    return _change(replays, Replay.UNDER_WAY, State.CANCELLED)


def _change(replays: Collection[str], was: Collection[State], becomes: State) -> list[str]:
    with transaction.atomic():
        rows = Replay.objects.select_for_update(of=("self",), no_key=True).order_by("pk")
        chosen = list(rows.filter(pk__in=replays, state__in=was).select_related("endpoint"))
        for replay in chosen:
            _turn(replay, becomes)
            replay.save()
        changed = [replay.pk for replay in chosen]
        if becomes == State.RUNNING:
            _ring_after_commit(changed)
    return changed


def count(replay: Replay) -> Count:
    """A dry run: how many a replay that is clean would send, as things are. Changes nothing."""
    until = time.monotonic() + COUNT_PATIENCE
    counted = 0
    while counted < COUNT_LIMIT and time.monotonic() < until:
        chunk = find(replay, COUNT_LIMIT - counted)
        counted += len(chunk.rows)
        if chunk.cursor is None:
            return Count(counted, exact=True)
        replay.cursor = chunk.cursor
    return Count(counted, exact=False)


def step(replay_id: str) -> float | None:
    """Take a replay's next chunk; returns the seconds until the one after.

    None where there is none: the replay is at rest or at its end, or somebody else is at it.
    """
    room = bell.room()
    with transaction.atomic():
        replay = (
            Replay.objects.select_for_update(of=("self",), no_key=True, skip_locked=True)
            .select_related("endpoint")
            .filter(pk=replay_id, state=State.RUNNING, due_at__lte=Now() + GRACE)
            .first()
        )
        if replay is None or not replay.endpoint.takes_deliveries:
            return None
        wait = _take(replay, room) if room else FULL_QUEUE_WAIT
        if wait is None:
            _turn(replay, State.FINISHED)
        else:
            replay.due_at = Now() + timedelta(seconds=wait)
        replay.save()
    return wait


def due(limit: int) -> list[str]:
    """Those whose message is lost, or that have waited for their endpoint: to be rung for."""
    asked = {"limit": limit, "lost_after": part(DeliverySettings).lost_after}
    with connection.cursor() as cursor:
        cursor.execute(DUE, asked)
        return [from_uuid("rpl", replay) for (replay,) in cursor.fetchall()]


def cancel_orphans(limit: int) -> list[str]:
    """Cancel those whose endpoint is deleted; returns which they were."""
    orphans = Replay.objects.filter(
        state__in=Replay.UNDER_WAY, endpoint__state=Endpoint.State.DELETED
    )
    return cancel(list(orphans.values_list("pk", flat=True)[:limit]))


def drop_ended_before(moment: datetime, limit: int) -> int:
    """Delete some of those that ended earlier. Returns how many."""
    return drop_some(Replay.objects.filter(ended_at__lt=moment).order_by("pk"), limit)


def _take(replay: Replay, room: int) -> float | None:
    """Send a chunk, of a second's worth at most; returns how long the rate has it wait then."""
    chunk = find(replay, min(replay.rate, room, part(DeliverySettings).sweep_chunk))
    sent = _send(replay, chunk)
    replay.replayed += sent
    replay.cursor = chunk.cursor or replay.cursor
    return None if chunk.cursor is None else sent / replay.rate


def _send(replay: Replay, chunk: Chunk) -> int:
    if not chunk.rows:
        return 0
    if replay.kind == Replay.Kind.AGAIN:
        return len(send_again(chunk.rows, replay.states, DeadLetter.Resolution.REPLAYED))
    endpoint = replay.endpoint
    match = Match(
        to_uuid(endpoint.pk),
        endpoint.takes_deliveries,
        batch_events=endpoint.batch_events,
        batch_seconds=endpoint.batch_seconds,
        batch_bytes=endpoint.batch_bytes,
        ordered=endpoint.ordered,
    )
    made = make_missed(match, chunk.rows)
    transaction.on_commit(made.announce, robust=True)
    for event, failures in chunk.failures.items():
        note_failures(from_uuid("evt", event), failures)
    return made.count


def _turn(replay: Replay, becomes: State) -> None:
    """Change its state, for the caller to save."""
    was, replay.state = replay.state, becomes
    replay.due_at = Now() if becomes == State.RUNNING else None
    if becomes not in Replay.UNDER_WAY:
        replay.ended_at = Now()
    changes = {"state": [was, becomes.value], "replayed": [None, replay.replayed]}
    _note(replay, HistoryEntry.Action.CHANGED, changes)


def _note(replay: Replay, action: HistoryEntry.Action, changes: Mapping[str, Any]) -> None:
    HistoryEntry.objects.create(
        action=action,
        kind=HistoryEntry.Kind.REPLAY,
        object_id=replay.pk,
        endpoint=replay.endpoint_id,
        subscriber=replay.endpoint.subscriber_id,
        changes=changes,
    )


def _shown(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


def _ring_after_commit(replays: Collection[str]) -> None:
    transaction.on_commit(lambda: bell.ring_for_replays(dict.fromkeys(replays, 0.0)), robust=True)
