"""manage.py dead_letters: look at what was given up, send it again, let it go, or export it."""

import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db.models import Count, Min, QuerySet
from django.utils import timezone
from rich.console import Console
from rich.table import Table

from deliveries import dead_letter_export, dead_letters, operations
from deliveries.exporting import pages
from deliveries.models import DeadLetter
from subscriptions.ids import new_id, to_uuid
from subscriptions.management.teaching import TeachingCommand

EXAMPLE = """\
examples:
  what there is, by endpoint and reason
    $ %(prog)s list

  how many of an endpoint's would be sent again, and then to do so
    $ %(prog)s redrive --endpoint ep_019b… --dry-run
    $ %(prog)s redrive --endpoint ep_019b…

  all that were exhausted in the last six hours, a thousand at a time
    $ %(prog)s redrive --reason exhausted --hours 6 --limit 1000

  what is of no use any more
    $ %(prog)s discard --reason gone

  a spreadsheet of one subscriber's, with their events' data
    $ %(prog)s export --subscriber sub_019b… --format csv > dead-letters.csv

A delivery that is redriven has its whole retry schedule before it. One that is discarded is never
sent; it stays on record. Say which are meant: --endpoint, --subscriber, --event-type, --reason,
--hours, or --all."""

CRITERIA = ("endpoint", "subscriber", "event_type", "reason", "hours")


class Command(TeachingCommand):
    help = "List the open dead letters, redrive them, discard them, or export them."
    examples = EXAMPLE

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "do", choices=["list", "redrive", "discard", "export"], help="what to do"
        )
        parser.add_argument("--endpoint", metavar="ID", help="those of this endpoint, ep_…")
        parser.add_argument("--subscriber", metavar="ID", help="those of this subscriber, sub_…")
        parser.add_argument("--event-type", metavar="NAME", help="those of events of this type")
        parser.add_argument(
            "--reason",
            choices=DeadLetter.Reason.values,
            metavar="REASON",
            help=f"those with it: {', '.join(DeadLetter.Reason.values)}",
        )
        parser.add_argument("--hours", type=float, help="those that died in the last so many")
        parser.add_argument("--all", action="store_true", help="every one there is")
        parser.add_argument("--limit", type=int, metavar="N", help="so many at most, oldest first")
        parser.add_argument("--dry-run", action="store_true", help="count them, and change nothing")
        parser.add_argument("--format", choices=["ndjson", "csv"], default="ndjson")

    def handle(self, *, do: str, dry_run: bool, limit: int | None, **options: Any) -> None:
        letters = _chosen(**options)
        if do == "list":
            console = Console(
                file=options.get("stdout") or sys.stdout,
                no_color=options["no_color"],
                highlight=False,
                markup=False,  # errors are anybody's
            )
            console.print(_table(letters))
            return
        if not options["all"] and not any(options[name] for name in CRITERIA):
            raise CommandError(
                "Say which are meant: --endpoint, --subscriber, --event-type, --reason, --hours "
                "or --all."
            )
        if do == "export":
            for line in dead_letter_export.export(letters, options["format"]):
                self.stdout.write(line, ending="")
            return
        done = 0
        for chunk in _chunks(letters, limit):
            if dry_run:
                done += len(chunk)
            else:
                operation = operations.redrive if do == "redrive" else operations.discard
                done += len(operation(chunk))
        verb = {"redrive": "redriven", "discard": "discarded"}[do]
        self.stdout.write(f"{'would be ' if dry_run else ''}{verb}: {done:,}")


def _chosen(*, hours: float | None, **options: Any) -> QuerySet[DeadLetter]:
    """The open ones that are meant and are there now."""
    selection = {name: options[name] for name in CRITERIA[:-1] if options[name] is not None}
    if hours is not None:
        selection["died_at__gte"] = timezone.now() - timedelta(hours=hours)
    try:
        return dead_letters.open_letters(selection).filter(pk__lt=new_id("dead"))
    except ValidationError as error:
        raise CommandError(error.messages[0]) from error


def _chunks(letters: QuerySet[DeadLetter], limit: int | None) -> Iterator[list[UUID]]:
    """Their deliveries, the oldest first."""
    left = limit
    for page in pages(letters.values("pk", "delivery_id")):
        chunk = [to_uuid(letter["delivery_id"]) for letter in page[:left]]
        yield chunk
        left = left and left - len(chunk)
        if left == 0:
            break


def _table(letters: QuerySet[DeadLetter]) -> Table:
    table = Table("endpoint", "", "reason", "dead letters", "first", "an error of theirs")
    groups = letters.order_by().values("endpoint", "endpoint__url", "reason")
    counted = groups.annotate(count=Count("pk"), first=Min("died_at"), error=Min("last_error"))
    for group in counted.order_by("-count"):
        table.add_row(
            group["endpoint"],
            group["endpoint__url"],
            group["reason"],
            f"{group['count']:,}",
            f"{group['first']:%Y-%m-%d %H:%M}",
            group["error"],
        )
    return table
