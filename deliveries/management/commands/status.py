"""manage.py status: how the deliveries fare, at a glance."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.utils.timesince import timesince, timeuntil
from rich.console import Console
from rich.table import Table

from deliveries import bell
from deliveries.status import FailingEndpoint, Some, failing, status
from subscriptions.management.teaching import TeachingCommand

MEANINGS = {
    "pending": ("to be sent as soon as a worker takes it", "enqueued {ago} ago"),
    "sending": ("a worker has it", "the first lease ends in {ahead}"),
    "waiting": ("its last attempt failed, or its turn is to come", "the next in {ahead}"),
    "gathering": ("waits for its batch to fill", "the oldest is {ago} old"),
    "queued": ("behind an earlier one of its ordering key", "the oldest is {ago} old"),
    "held": ("its endpoint is paused, disabled or broken", "the oldest is {ago} old"),
    "batched": ("goes with the delivery that leads its batch", "the oldest is {ago} old"),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What the command tells, and `--json` has."""

    deliveries: Mapping[str, Some]
    dead_letters: Mapping[str, Some]
    failing: list[FailingEndpoint]
    messages: int | None
    """How many wait on the broker; None where it does not say."""


class Command(TeachingCommand):
    help = (
        "Show what is under way, what is dead, and which endpoints have failed for the longest. "
        "Where pending deliveries grow in number, add workers; where messages cannot be counted, "
        "look after the broker. For dead letters there is `manage.py dead_letters list`."
    )
    examples = """\
examples:
  $ %(prog)s --endpoints 50
  $ %(prog)s --json | jq .deliveries.pending.count"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="as one JSON object")
        parser.add_argument(
            "--endpoints", type=int, default=10, metavar="N", help="so many failing ones at most"
        )

    def handle(self, *, endpoints: int, **options: Any) -> None:
        found = status()
        dead = sorted(found.dead_letters.items(), key=lambda one: -one[1].count)
        shown = Shown(
            deliveries={state: some for state, some in found.deliveries.items() if some.count},
            dead_letters={reason: some for reason, some in dead if some.count},
            failing=failing(endpoints),
            messages=bell.waiting(),
        )
        if options["json"]:
            self.stdout.write(json.dumps(asdict(shown), default=str))
            return
        console = Console(
            file=options.get("stdout") or sys.stdout, no_color=options["no_color"], highlight=False
        )
        messages = "not to be counted" if shown.messages is None else f"{shown.messages:,}"
        console.print(f"Messages on the broker: {messages}")
        for table in _tables(shown):
            if table.row_count:
                console.print(table)


def _tables(found: Shown) -> list[Table]:
    under_way = Table("state", "deliveries", "", "", title="Under way", title_justify="left")
    for state, (meaning, timing) in MEANINGS.items():
        some = found.deliveries.get(state)
        if some is not None:
            under_way.add_row(state, f"{some.count:,}", meaning, _timed(some, timing))
    dead = Table("reason", "dead letters", "", title="Dead", title_justify="left")
    for reason, some in found.dead_letters.items():
        dead.add_row(reason, f"{some.count:,}", _timed(some, "the first {ago} ago"))
    failing = Table("endpoint", "", "state", "for", title="Failing", title_justify="left")
    for one in found.failing:
        failing.add_row(one.id, one.url, one.state, timesince(one.failing_since))
    return [under_way, dead, failing]


def _timed(some: Some, timing: str) -> str:
    if some.earliest is None:
        return ""
    return timing.format(ago=timesince(some.earliest), ahead=timeuntil(some.earliest))
