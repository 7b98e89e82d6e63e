"""Replays: counted, started, followed, stopped."""

from collections.abc import Callable
from datetime import datetime
from itertools import islice
from typing import Any

import click

from angarium_client.cli import jobs
from angarium_client.cli.deliveries import COLUMNS as DELIVERY_COLUMNS
from angarium_client.cli.jobs import follow_option
from angarium_client.cli.session import Session, limit_option, pass_session
from angarium_client.cli.times import Time
from angarium_client.shapes import NewReplay, Replay

COLUMNS = ["id", "state", "progress", "replayed", "kind", "pattern", "endpoint", "waits_for"]


@click.group()
def replay() -> None:
    """Send an endpoint again what it was sent, or at last what it never got."""


@replay.command("start")
@click.argument("endpoint")
@click.option("--missed", is_flag=True, help="Events it never got, not what it was sent before.")
@click.option("--pattern", default="*", help="Events of this type, or below it: invoice.*")
@click.option(
    "--state",
    "states",
    multiple=True,
    help="Deliveries that ended so; may be repeated. Delivered and dead, if left out.",
)
@click.option("--since", type=Time(), help="Events emitted from then on: 2026-03-01T08:00")
@click.option("--until", type=Time(), help="Events emitted before.")
@click.option("--rate", default=50, show_default=True, help="So many a second at most.")
@click.option("--dry-run", is_flag=True, help="Count them, and send nothing.")
@follow_option
@pass_session
def start_replay(
    session: Session,
    endpoint: str,
    missed: bool,
    pattern: str,
    states: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    rate: int,
    dry_run: bool,
    follow: bool,
) -> None:
    """Start a replay to an endpoint; the server goes on with it by itself.

    \b
    angarium replay start ep_… --pattern 'invoice.*' --since 2026-03-01T08:00 --dry-run
    angarium replay start ep_… --state dead --rate 5 --follow
    angarium replay start ep_… --missed --since 2026-01-01
    """
    asked: NewReplay = {
        "endpoint": endpoint,
        "kind": "missed" if missed else "again",
        "pattern": pattern,
        "states": list(states),
        "since": since,
        "until": until,
        "rate": rate,
    }
    if dry_run:
        counted = session.api.count_replay(**asked)
        least = "" if counted["exact"] else "at least "
        session.output.told(counted, f"{least}{counted['count']:,} would be sent.")
        return
    started = session.api.start_replay(**asked)
    if follow:
        _follow(session, started["id"])
    else:
        _show(session, started)


@replay.command("list")
@click.option("--endpoint", help="To this endpoint.")
@click.option("--subscriber", help="To this subscriber's endpoints.")
@click.option("--state", help="In this state, as running or finished.")
@limit_option
@pass_session
def list_replays(session: Session, /, limit: int, **wanted: str | None) -> None:
    """List the replays, newest first."""
    found = islice(session.api.replays(**wanted), limit)
    session.output.rows(COLUMNS, found if session.output.as_json else map(_shown, found))


@replay.command("show")
@click.argument("id")
@follow_option
@pass_session
def show_replay(session: Session, id: str, follow: bool) -> None:
    """Show a replay, and how far it has come."""
    if follow:
        _follow(session, id)
    else:
        _show(session, session.api.replay(id))


@replay.command("pause")
@click.argument("id")
@pass_session
def pause_replay(session: Session, id: str) -> None:
    """Send nothing more until it is resumed."""
    _change(session, session.api.pause_replay, id)


@replay.command("resume")
@click.argument("id")
@pass_session
def resume_replay(session: Session, id: str) -> None:
    """Go on where it was."""
    _change(session, session.api.resume_replay, id)


@replay.command("cancel")
@click.argument("id")
@pass_session
def cancel_replay(session: Session, id: str) -> None:
    """End it for good; what is on its way is delivered."""
    _change(session, session.api.cancel_replay, id)


@replay.command("delivery")
@click.argument("ids", nargs=-1, required=True)
@pass_session
def replay_delivery(session: Session, ids: tuple[str, ...]) -> None:
    """Send single deliveries, which have ended, once more."""
    session.output.rows(DELIVERY_COLUMNS, [session.api.replay_delivery(one) for one in ids])


def _change(session: Session, change: Callable[[str], Replay], id: str) -> None:
    _show(session, change(id))


def _show(session: Session, one: Replay) -> None:
    session.output.one(one if session.output.as_json else _shown(one))


def _shown(one: Replay) -> dict[str, Any]:
    return {**one, "progress": f"{one['progress']:.0%}"}


def _follow(session: Session, id: str) -> None:
    jobs.follow(
        session.output,
        lambda: session.api.replay(id),
        lambda one: one["progress"],
        _sentence,
    )


def _sentence(one: Any) -> str:
    return f"{one['replayed']:,} sent, {one['state']}. {one['waits_for']}".rstrip()
