"""manage.py dead_letters: look at what was given up, send it again, or let it go."""

import sys
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db.models import Count, Min, QuerySet
from django.utils import timezone
from rich.console import Console
from rich.table import Table

from deliveries import operations
from deliveries.models import DeadLetter
from subscriptions.ids import to_uuid
from subscriptions.management.teaching import TeachingCommand

CHUNK = 500

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

A delivery that is redriven has its whole retry schedule before it. One that is discarded is never
sent; it stays on record. Say which are meant: --endpoint, --reason, --hours, or --all."""


class Command(TeachingCommand):
    help = "List the open dead letters, redrive them, or discard them."
    examples = EXAMPLE

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("do", choices=["list", "redrive", "discard"], help="what to do")
        parser.add_argument("--endpoint", metavar="ID", help="those of this endpoint, ep_…")
        parser.add_argument("--reason", choices=DeadLetter.Reason.values, help="those with it")
        parser.add_argument("--hours", type=float, help="those that died in the last so many")
        parser.add_argument("--all", action="store_true", help="every one there is")
        parser.add_argument("--limit", type=int, metavar="N", help="so many at most, oldest first")
        parser.add_argument("--dry-run", action="store_true", help="count them, and change nothing")

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
        if not any(options[name] for name in ("endpoint", "reason", "hours", "all")):
            raise CommandError("Say which are meant: --endpoint, --reason, --hours or --all.")
        done = 0
        for chunk in _chunks(letters, limit):
            if dry_run:
                done += len(chunk)
            else:
                operation = operations.redrive if do == "redrive" else operations.discard
                done += len(operation(chunk))
        verb = {"redrive": "redriven", "discard": "discarded"}[do]
        self.stdout.write(f"{'would be ' if dry_run else ''}{verb}: {done:,}")


def _chosen(
    *, endpoint: str | None, reason: str | None, hours: float | None, **_: Any
) -> QuerySet[DeadLetter]:
    letters = DeadLetter.objects.filter(resolution="")
    try:
        if endpoint is not None:
            letters = letters.filter(delivery__endpoint=endpoint)
    except ValidationError as error:
        raise CommandError(error.messages[0]) from error
    if reason is not None:
        letters = letters.filter(reason=reason)
    if hours is not None:
        letters = letters.filter(died_at__gte=timezone.now() - timedelta(hours=hours))
    return letters


def _chunks(letters: QuerySet[DeadLetter], limit: int | None) -> list[list[Any]]:
    """The deliveries of those there are now, the oldest first."""
    found = letters.order_by("id").values_list("delivery_id", flat=True)[:limit]
    deliveries = [to_uuid(delivery) for delivery in found.iterator()]
    return [deliveries[start : start + CHUNK] for start in range(0, len(deliveries), CHUNK)]


def _table(letters: QuerySet[DeadLetter]) -> Table:
    table = Table("endpoint", "", "reason", "dead letters", "first", "an error of theirs")
    groups = letters.order_by().values("delivery__endpoint", "delivery__endpoint__url", "reason")
    counted = groups.annotate(count=Count("pk"), first=Min("died_at"), error=Min("last_error"))
    for group in counted.order_by("-count"):
        table.add_row(
            group["delivery__endpoint"],
            group["delivery__endpoint__url"],
            group["reason"],
            f"{group['count']:,}",
            f"{group['first']:%Y-%m-%d %H:%M}",
            group["error"],
        )
    return table
