"""Deliveries: looked at, followed live, tried again."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import click

from angarium_client.cli.session import Session, limit_option, only, pass_session
from angarium_client.cli.tailing import LOOKED_AT, follow

COLUMNS = ["id", "event_type", "endpoint", "state", "attempt_number", "next_attempt_at"]
WHICH = [
    click.option("--event", help="Of this event."),
    click.option("--endpoint", help="To this endpoint."),
    click.option("--subscriber", help="To this subscriber's endpoints."),
    click.option("--state", help="In this state, as waiting or dead."),
]


def which_deliveries(command: Any) -> Any:
    """The options that say which deliveries are meant."""
    for option in reversed(WHICH):
        command = option(command)
    return command


@click.command()
@which_deliveries
@limit_option
@pass_session
def deliveries(session: Session, /, limit: int, **wanted: str | None) -> None:
    """List the deliveries, newest first."""
    found = session.api.deliveries(**wanted)  # type: ignore[arg-type]
    session.output.rows(COLUMNS, islice(found, limit))


@click.command()
@click.argument("id")
@pass_session
def delivery(session: Session, id: str) -> None:
    """Show a delivery and the attempts at it."""
    found = session.api.delivery(id)
    if session.output.as_json:
        session.output.line(found)
        return
    attempts = found["attempts"]
    session.output.one({name: value for name, value in found.items() if name != "attempts"})
    session.output.rows(
        ["number", "outcome", "status", "duration_ms", "error", "ended_at"], attempts
    )


@click.command()
@which_deliveries
@click.option("--pause", default=1.0, show_default=True, help="Seconds between two looks.")
@click.option("--count", type=int, help="End after so many lines.")
@pass_session
def tail(session: Session, /, pause: float, count: int | None, **wanted: str | None) -> None:
    """Show deliveries live, as they come and as their state changes. Ctrl-C ends it.

    The newest two hundred that are meant are looked at each time: where more come than that
    between two looks, or an old one changes, it is not seen.
    """

    def newest() -> Iterator[Any]:
        found = session.api.deliveries(page_size=LOOKED_AT, **wanted)
        return islice(found, LOOKED_AT)

    for one in islice(follow(newest, pause=pause), count):
        shown = [*COLUMNS[:5], "ended_at"]
        session.output.line(one if session.output.as_json else only(one, shown))


@click.command()
@click.argument("ids", nargs=-1, required=True)
@pass_session
def retry(session: Session, ids: tuple[str, ...]) -> None:
    """Try deliveries again at once: waiting ones need not wait, dead ones are redriven."""
    session.output.rows(COLUMNS, [session.api.retry(one) for one in ids])


@click.command()
@click.argument("ids", nargs=-1, required=True)
@pass_session
def discard(session: Session, ids: tuple[str, ...]) -> None:
    """Give deliveries up."""
    session.output.rows(COLUMNS, [session.api.discard(one) for one in ids])
