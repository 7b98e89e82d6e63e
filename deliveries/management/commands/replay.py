"""manage.py replay: send an endpoint again what it was sent, or at last what it never got."""

import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.utils.timezone import is_naive, make_aware
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from deliveries import replays
from deliveries.models import Replay
from deliveries.replays import ASKED, ReplayUnderWay
from subscriptions.management.teaching import TeachingCommand
from subscriptions.models import Endpoint

EXAMPLE = """\
examples:
  how many deliveries of a morning would be sent again, and then to do so
    $ %(prog)s start ep_019b… --since 2026-03-01T08:00Z --until 2026-03-01T12:00Z --dry-run
    $ %(prog)s start ep_019b… --since 2026-03-01T08:00Z --until 2026-03-01T12:00Z

  what is dead of one kind, five a second
    $ %(prog)s start ep_019b… --pattern invoice.* --state dead --rate 5

  events that the endpoint never got, though its subscriptions ask for them now
    $ %(prog)s start ep_019b… --missed --since 2026-01-01

  how they fare, and to stop one for a while or for good
    $ %(prog)s list
    $ %(prog)s pause rpl_019b…
    $ %(prog)s resume rpl_019b…
    $ %(prog)s cancel rpl_019b…

The workers do it: this command only writes down that it is to be done. Each event keeps its
webhook-id, by which receivers tell what they had before. While an endpoint is not active its
replay waits. An endpoint has one replay at a time."""

OPERATIONS = {"pause": replays.pause, "resume": replays.resume, "cancel": replays.cancel}
LISTED = 20


class Command(TeachingCommand):
    help = "Start a replay, see how the replays fare, pause, resume or cancel one."
    examples = EXAMPLE

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("do", choices=["start", "list", *OPERATIONS], help="what to do")
        parser.add_argument(
            "id", nargs="?", help="to start: the endpoint, ep_…; to change: the replay, rpl_…"
        )
        parser.add_argument(
            "--missed",
            dest="kind",
            action="store_const",
            const=Replay.Kind.MISSED,
            default=Replay.Kind.AGAIN,
            help="events it never got, instead of what it was sent before",
        )
        parser.add_argument("--pattern", default="*", help="events of this type: invoice.*")
        parser.add_argument(
            "--state",
            dest="states",
            action="append",
            default=[],
            choices=[state for state, _ in Replay.ENDED],
            help="deliveries that ended so, may be said twice; delivered and dead, if not said",
        )
        parser.add_argument("--since", metavar="TIME", help="events emitted from then on")
        parser.add_argument("--until", metavar="TIME", help="events emitted before")
        parser.add_argument("--rate", type=int, default=50, help="so many a second at most")
        parser.add_argument("--dry-run", action="store_true", help="count, and send nothing")

    def handle(self, *, do: str, id: str | None, **options: Any) -> None:
        if do == "list":
            console = Console(
                file=options.get("stdout") or sys.stdout,
                no_color=options["no_color"],
                highlight=False,
            )
            console.print(_table(Replay.objects.select_related("endpoint")[:LISTED]))
            return
        if id is None:
            raise CommandError(f"Say which {'endpoint' if do == 'start' else 'replay'} is meant.")
        try:
            if do == "start":
                self._start(id, options["dry_run"], {name: options[name] for name in ASKED})
            else:
                self._change(do, id)
        except (ValidationError, ReplayUnderWay) as error:
            raise CommandError(" ".join(getattr(error, "messages", [str(error)]))) from error

    def _start(self, endpoint: str, dry_run: bool, asked: dict[str, Any]) -> None:
        try:
            owner = Endpoint.objects.get(pk=endpoint)
        except Endpoint.DoesNotExist:
            raise CommandError(f"There is no endpoint {endpoint}.") from None
        times = {name: _moment(asked[name]) for name in ("since", "until")}
        replay = Replay(endpoint=owner, **{**asked, **times})
        replay.full_clean(validate_constraints=False)
        if dry_run:
            self.stdout.write(f"would be sent: {replays.count(replay)}")
        else:
            replays.start(replay)
            self.stdout.write(replay.pk)

    def _change(self, do: str, replay: str) -> None:
        if not OPERATIONS[do]([replay]):
            found = Replay.objects.filter(pk=replay).first()
            raise CommandError(
                f"There is no replay {replay}." if found is None else f"It is {found.state}."
            )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(
            f"{text!r} is no time: write 2026-03-01, or 2026-03-01T08:00Z."
        ) from None
    return make_aware(moment) if is_naive(moment) else moment


def _table(replays: Iterable[Replay]) -> Table:
    table = Table(box=SIMPLE)
    for column in ("replay", "state", "progress", "replayed"):
        table.add_column(column, no_wrap=True)  # ids are to be copied
    for column in ("what", "endpoint"):
        table.add_column(column, overflow="fold")
    for one in replays:
        table.add_row(
            one.pk,
            "waits" if one.waits_for else one.state,
            f"{one.progress:.0%}",
            f"{one.replayed:,}",
            f"{one.kind} {one.pattern}",
            one.endpoint.url,
        )
    return table
