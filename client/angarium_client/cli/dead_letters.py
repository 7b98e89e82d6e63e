"""Dead letters: looked at, redriven, discarded."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

import click

from angarium_client.cli.session import Session, limit_option, pass_session


@click.group("dead-letters")
def dead_letters() -> None:
    """What was given up."""


@dead_letters.command("list")
@click.option("--endpoint", help="Of this endpoint.")
@click.option("--reason", help="Given up for this reason, as exhausted or gone.")
@click.option("--resolution", help="open (if left out), any, redriven, discarded, …")
@limit_option
@pass_session
def list_dead_letters(session: Session, /, limit: int, **wanted: str | None) -> None:
    """List the dead letters, newest first."""
    found = session.api.dead_letters(**wanted)
    columns = ["id", "delivery", "endpoint", "reason", "last_error", "died_at", "resolution"]
    session.output.rows(columns, islice(found, limit))


@dead_letters.command("redrive")
@click.option("--endpoint", help="Of this endpoint.")
@click.option("--subscriber", help="Of this subscriber.")
@click.option("--event-type", help="Of events of this type.")
@click.option("--reason", help="Given up for this reason.")
@click.option("--dry-run", is_flag=True, help="Count them, and change nothing.")
@pass_session
def redrive_dead_letters(session: Session, /, **wanted: Any) -> None:
    """Send again all that are meant, with the whole retry schedule before them."""
    _resolve(session, session.api.redrive, wanted, "redriven")


@dead_letters.command("discard")
@click.option("--endpoint", help="Of this endpoint.")
@click.option("--subscriber", help="Of this subscriber.")
@click.option("--event-type", help="Of events of this type.")
@click.option("--reason", help="Given up for this reason.")
@click.option("--dry-run", is_flag=True, help="Count them, and change nothing.")
@click.confirmation_option(prompt="They will not be sent again. Go on?")
@pass_session
def discard_dead_letters(session: Session, /, **wanted: Any) -> None:
    """Discard all that are meant."""
    _resolve(session, session.api.discard_dead_letters, wanted, "discarded")


def _resolve(session: Session, operation: Any, wanted: Mapping[str, Any], done: str) -> None:
    selection = {name: value for name, value in wanted.items() if value is not None}
    job = operation(**selection)
    if session.output.as_json:
        session.output.line(job)
        return
    if job["id"] is None:
        session.output.say(f"{job['matched']} would be {done}.")
        return
    rest = "" if job["ended_at"] else f" of {job['matched']}; the rest follows"
    session.output.say(f"{job['changed']} {done}{rest}.")
