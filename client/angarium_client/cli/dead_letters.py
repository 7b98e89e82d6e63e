"""Dead letters: looked at, exported, redriven, discarded."""

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, BinaryIO

import click

from angarium_client.cli import jobs
from angarium_client.cli.jobs import follow_option
from angarium_client.cli.session import Session, limit_option, pass_session
from angarium_client.cli.times import Time
from angarium_client.shapes import DeadLetterJob

COLUMNS = ["id", "delivery", "endpoint", "reason", "last_error", "died_at", "resolution"]
JOB_COLUMNS = ["id", "action", "matched", "changed", "asked_at", "ended_at"]
WHICH = [
    click.option("--endpoint", help="Of this endpoint."),
    click.option("--subscriber", help="Of this subscriber."),
    click.option("--event-type", help="Of events of this type."),
    click.option("--reason", help="Given up for this reason, as exhausted or gone."),
    click.option("--died-after", type=Time(), help="Given up then or later: 2026-03-01T08:00"),
    click.option("--died-before", type=Time(), help="Given up before then."),
]

resolution_option = click.option(
    "--resolution", help="open (if left out), any, redriven, discarded, …"
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Count them, and change nothing.")


def which_dead_letters(command: Any) -> Any:
    """The options that say which dead letters are meant."""
    for option in reversed(WHICH):
        command = option(command)
    return command


@click.group("dead-letters")
def dead_letters() -> None:
    """What was given up."""


@dead_letters.command("list")
@which_dead_letters
@resolution_option
@limit_option
@pass_session
def list_dead_letters(session: Session, /, limit: int, **wanted: Any) -> None:
    """List the dead letters, newest first."""
    session.output.rows(COLUMNS, islice(session.api.dead_letters(**wanted), limit))


@dead_letters.command("export")
@which_dead_letters
@resolution_option
@click.option("--format", type=click.Choice(["ndjson", "csv"]), default="ndjson", show_default=True)
@click.option("--output", "file", type=click.File("wb"), default="-", help="Into this file.")
@pass_session
def export_dead_letters(session: Session, /, format: str, file: BinaryIO, **wanted: Any) -> None:
    """Write the dead letters with their events' data, oldest first."""
    for piece in session.api.export_dead_letters(format, **wanted):
        file.write(piece)


@dead_letters.command("redrive")
@click.argument("ids", nargs=-1)
@which_dead_letters
@dry_run_option
@follow_option
@pass_session
def redrive_dead_letters(session: Session, /, **wanted: Any) -> None:
    """Send again those that are named, or all that are meant, with the whole schedule before them.

    \b
    angarium dead-letters redrive dead_…
    angarium dead-letters redrive --endpoint ep_… --reason exhausted --follow
    """
    _resolve(session, session.api.redrive, "redriven", **wanted)


@dead_letters.command("discard")
@click.argument("ids", nargs=-1)
@which_dead_letters
@dry_run_option
@follow_option
@click.confirmation_option(prompt="They will not be sent again. Go on?")
@pass_session
def discard_dead_letters(session: Session, /, **wanted: Any) -> None:
    """Discard those that are named, or all that are meant."""
    _resolve(session, session.api.discard_dead_letters, "discarded", **wanted)


@dead_letters.command("jobs")
@limit_option
@pass_session
def list_jobs(session: Session, limit: int) -> None:
    """List the redrives and discards of many, newest first."""
    session.output.rows(JOB_COLUMNS, islice(session.api.dead_letter_jobs(), limit))


@dead_letters.command("job")
@click.argument("id")
@follow_option
@pass_session
def show_job(session: Session, id: str, follow: bool) -> None:
    """Show how far a redrive or discard of many has come."""
    if follow:
        _follow(session, id)
    else:
        session.output.one(session.api.dead_letter_job(id))


def _resolve(
    session: Session,
    operation: Callable[..., DeadLetterJob],
    done: str,
    /,
    *,
    ids: tuple[str, ...],
    follow: bool,
    **selection: Any,
) -> None:
    job = operation(ids=list(ids) or None, **selection)
    if job["id"] is None:
        session.output.told(job, f"{job['matched']:,} would be {done}.")
    elif follow and job["ended_at"] is None:
        _follow(session, job["id"])
    else:
        rest = f" of {job['matched']:,}; {job['id']} goes on with the rest"
        session.output.told(job, f"{job['changed']:,} {done}{'' if job['ended_at'] else rest}.")


def _follow(session: Session, id: str) -> None:
    jobs.follow(session.output, lambda: session.api.dead_letter_job(id), _share, _sentence)


def _share(job: Mapping[str, Any]) -> float:
    """Some may have been dealt with by others: at the end fewer were changed than matched."""
    done: float = job["changed"] / max(job["matched"], 1)
    return done if job["ended_at"] is None else 1.0


def _sentence(job: Mapping[str, Any]) -> str:
    return f"{job['changed']:,} of {job['matched']:,}"
