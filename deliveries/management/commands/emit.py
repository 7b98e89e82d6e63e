"""manage.py emit: events from a file of JSON lines into the system."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import IO, Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from deliveries.conf import DeliverySettings
from deliveries.emit import emit
from deliveries.event_lines import BadLine, Line, parse, read_lines
from deliveries.models import Event
from subscriptions.conf import part
from subscriptions.management.teaching import TeachingCommand
from subscriptions.models import Subscriber

EXAMPLE = """\
example:
  $ cat events.jsonl
  {"type": "invoice.paid", "data": {"invoice": 17, "amount": "12.50"}}
  {"type": "user.created", "data": {"name": "Ada"}, "idempotency_key": "user-1"}

  $ %(prog)s events.jsonl
  emitted 2 events, 5 deliveries

  $ tail -F events.jsonl | %(prog)s -

a line has:
  type             words joined by full stops, as in invoice.paid
  data             any JSON
  subscriber       (optional) the id of the only subscriber that gets the event, sub_…
  channels         (optional) a list of labels that subscriptions may ask for
  idempotency_key  (optional) the event is emitted once, however often the line is read
  ordering_key     (optional) events that share it arrive in order, where that is asked for
  occurred_at      (optional) as in 2026-01-31T12:00:00Z; now, where left out

exit status:
  0 if every line was good, 1 if any was bad, 2 if it could not go on"""

A_LINE_WAS_BAD = 1
COULD_NOT_GO_ON = 2
INTERRUPTED = 130
ROOM_BESIDE_DATA = 4096


@dataclass(slots=True)
class Tally:
    """What came of the lines so far."""

    lines: int = 0
    events: int = 0
    deliveries: int = 0
    fan_outs: int = 0
    repeats: int = 0
    bad_lines: int = 0

    def add(self, event: Event, repeated: bool) -> None:
        if repeated:
            self.repeats += 1
        else:
            self.events += 1
            self.deliveries += event.delivery_count
            self.fan_outs += event.fanned_out_at is None

    def __str__(self) -> str:
        clauses = [f"{_count(self.events, 'event')}, {_count(self.deliveries, 'delivery')}"]
        if self.fan_outs:
            clauses.append(f"{_count(self.fan_outs, 'event')} left to a worker to fan out")
        if self.repeats:
            clauses.append(f"{_count(self.repeats, 'event')} emitted before")
        if self.bad_lines:
            clauses.append(_count(self.bad_lines, "bad line"))
        return "; ".join(clauses)


class Command(TeachingCommand):
    help = (
        "Emit the events of a JSON-lines file, each in a transaction of its own. A line that is no "
        "good is reported by its number; the others are emitted all the same."
    )

    examples = EXAMPLE

    requires_system_checks = ()  # a pipe's producer should not wait for the URLs to be imported

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="a JSON-lines file, or - for stdin")
        parser.add_argument(
            "--subscriber",
            metavar="ID",
            help="emit to this subscriber's endpoints alone, where a line does not name another",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="check every line, and emit nothing"
        )

    def handle(self, *, file: str, subscriber: str | None, dry_run: bool, **options: Any) -> None:
        console = Console(
            file=options.get("stderr") or sys.stderr, no_color=options["no_color"], highlight=False
        )
        # The data may be written with every byte as \uXXXX.
        limit = 6 * part(DeliverySettings).max_payload_bytes + ROOM_BESIDE_DATA
        tally = Tally()
        with _opened(file) as stream:
            try:
                connection.ensure_connection()
                owner = _subscriber(subscriber)
                with _progress(stream, console) as show:
                    for line in read_lines(stream, limit=limit):
                        tally.lines = line.number
                        try:
                            tally.add(*_emit(line, owner, limit=limit, dry_run=dry_run))
                        except ValueError as error:
                            tally.bad_lines += 1
                            console.print(
                                f"line {line.number}: {error}", soft_wrap=True, markup=False
                            )
                        show(tally)
            except DatabaseError as error:
                where = f"line {tally.lines}: " if tally.lines else ""
                raise CommandError(
                    f"{where}The database failed: {error}", returncode=COULD_NOT_GO_ON
                ) from error
            except KeyboardInterrupt:
                sys.exit(INTERRUPTED)
            finally:
                if tally.lines:
                    self.stdout.write(f"{'would emit' if dry_run else 'emitted'} {tally}")
        if tally.bad_lines:
            sys.exit(A_LINE_WAS_BAD)


def _opened(file: str) -> AbstractContextManager[IO[bytes]]:
    if file == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return open(file, "rb")
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", returncode=COULD_NOT_GO_ON) from error


def _subscriber(id: str | None) -> Subscriber | None:
    if id is None:
        return None
    try:
        return Subscriber.objects.get(pk=id)
    except (Subscriber.DoesNotExist, ValidationError) as error:
        raise CommandError(f"There is no subscriber {id!r}.", returncode=COULD_NOT_GO_ON) from error


def _emit(line: Line, owner: Subscriber | None, *, limit: int, dry_run: bool) -> tuple[Event, bool]:
    """The line's event, and whether an earlier line or run had emitted it."""
    if line.text is None:
        raise BadLine(f"It is longer than {limit:,} bytes.")
    written = parse(line.text)
    began = timezone.now()
    with transaction.atomic():
        event = emit(
            written.type,
            written.data,
            subscriber=owner if written.subscriber is None else written.subscriber,
            channels=written.channels,
            idempotency_key=written.idempotency_key,
            ordering_key=written.ordering_key,
            occurred_at=written.occurred_at,
        )
        transaction.set_rollback(dry_run)
    return event, event.created_at < began


@contextmanager
def _progress(stream: IO[bytes], console: Console) -> Iterator[Callable[[Tally], None]]:
    """A bar, on a terminal only: how much of the stream is read, where its size is known."""
    size = None
    if stream.seekable():
        start = stream.tell()
        size = stream.seek(0, os.SEEK_END)
        stream.seek(start)
    with Progress(
        BarColumn(),
        TaskProgressColumn(show_speed=False),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as progress:
        task = progress.add_task("", total=size)

        def show(tally: Tally) -> None:
            completed = None if size is None else stream.tell()
            progress.update(task, completed=completed, description=str(tally))

        yield show


def _count(number: int, noun: str) -> str:
    if number == 1:
        return f"1 {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {plural}"
