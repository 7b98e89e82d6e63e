"""Events: emitted, and looked at."""

from itertools import islice
from typing import TextIO

import click
from rich.progress import Progress

from angarium_client.cli.session import Session, limit_option, parsed, pass_session


@click.command()
@click.argument("type", required=False)
@click.argument("data", required=False)
@click.option("--subscriber", help="Only for this subscriber's endpoints.")
@click.option("--channel", "channels", multiple=True, help="A label; may be repeated.")
@click.option("--ordering-key", help="Events that share it arrive in order, where asked for.")
@click.option("--idempotency-key", help="Sent again with the same key, it makes no second event.")
@click.option(
    "--file",
    type=click.File(encoding="utf-8"),
    help='Emit each line, as in {"type": "invoice.paid", "data": {}}; - is standard input.',
)
@pass_session
def emit(
    session: Session,
    type: str | None,
    data: str | None,
    subscriber: str | None,
    channels: tuple[str, ...],
    ordering_key: str | None,
    idempotency_key: str | None,
    file: TextIO | None,
) -> None:
    """Emit an event with DATA, which is JSON; or those in a file.

    \b
    angarium emit invoice.paid '{"id": 42}' --idempotency-key paid-42
    angarium emit --file events.jsonl
    """
    if file is not None:
        _emit_lines(session, file)
        return
    if type is None:
        raise click.UsageError("Name an event type, or give a --file.")
    event = session.api.emit(
        type,
        parsed(data or "{}"),
        subscriber=subscriber,
        channels=channels or None,
        ordering_key=ordering_key,
        idempotency_key=idempotency_key,
    )
    session.output.one(event)


def _emit_lines(session: Session, file: TextIO) -> None:
    lines = [line for line in file if line.strip()]
    with Progress(disable=session.output.as_json) as progress:
        for number, line in enumerate(progress.track(lines, description="emitting"), start=1):
            event = parsed(line)
            if not isinstance(event, dict) or not {"type", "data"} <= event.keys():
                raise click.ClickException(f'Line {number} is not {{"type": …, "data": …}}.')
            try:
                made = session.api.emit(**event)
            except TypeError as error:
                raise click.ClickException(f"Line {number}: {error}") from error
            if session.output.as_json:
                session.output.line(made)
    session.output.say(f"{len(lines)} events emitted.")


@click.command()
@click.option("--type", help="Of this event type.")
@click.option("--subscriber", help="For this subscriber.")
@limit_option
@pass_session
def events(session: Session, type: str | None, subscriber: str | None, limit: int) -> None:
    """List the events, newest first."""
    found = session.api.events(type=type, subscriber=subscriber)
    columns = ["id", "type", "subscriber", "occurred_at", "delivery_count"]
    session.output.rows(columns, islice(found, limit))


@click.command()
@click.argument("id")
@pass_session
def event(session: Session, id: str) -> None:
    """Show an event, its data, and how its deliveries fare."""
    session.output.one(session.api.event(id))
