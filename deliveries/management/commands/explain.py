"""manage.py explain: why an event was delivered to an endpoint, or was not."""

import sys
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from rich.console import Console
from rich.table import Table

from deliveries.explaining import Explanation, explain
from deliveries.explaining.facts import gather
from deliveries.models import Delivery, Event
from subscriptions.hidden_characters import shown
from subscriptions.management.teaching import TeachingCommand
from subscriptions.models import Endpoint

EXAMPLES = """
for example:
  why an event is not with an endpoint, or how it got there
    $ %(prog)s evt_0195f3b2c4d87e10a1b2c3d4e5f60718 ep_0195f3b2c4d87e10a1b2c3d4e5f60719

  the same, of a delivery that a log names
    $ %(prog)s dlv_0195f3b2c4d87e10a1b2c3d4e5f60720
"""


class Command(TeachingCommand):
    examples = EXAMPLES
    help = (
        "Tell why an event was delivered to an endpoint, or was not: whether it matched and by "
        "which rule, what happened, and what happens next. Name the two, or the delivery."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", help="of the event, evt_…, or of the delivery, dlv_…")
        parser.add_argument("endpoint", nargs="?", help="its id, ep_…, with that of an event")

    def handle(self, *, id: str, endpoint: str | None, **options: Any) -> None:
        explanation = explain(gather(*_meant(id, endpoint)))
        console = Console(
            file=options.get("stdout") or sys.stdout,
            no_color=options["no_color"],
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        for line in _lines(explanation):
            console.print(line)
        console.print(_timeline(explanation), soft_wrap=False)


def _meant(id: str, endpoint: str | None) -> tuple[Event, Endpoint]:
    endpoints = Endpoint.objects.select_related("subscriber")
    try:
        if id.startswith("dlv_"):
            delivery = Delivery.objects.select_related("event").get(pk=id)
            return delivery.event, endpoints.get(pk=delivery.endpoint_id)
        if endpoint is None:
            raise CommandError("Name the endpoint too: manage.py explain evt_… ep_…")
        return Event.objects.get(pk=id), endpoints.get(pk=endpoint)
    except ValidationError as error:
        raise CommandError(error.messages[0]) from error
    except (Delivery.DoesNotExist, Event.DoesNotExist, Endpoint.DoesNotExist) as error:
        raise CommandError(f"{error} It may be past its retention.") from error


def _lines(explanation: Explanation) -> list[str]:
    matching, outlook = explanation.matching, explanation.next
    lines = [
        f"{explanation.event} to {explanation.endpoint.url or 'a feed'}",
        "",
        f"How it stands      {explanation.answer}",
        f"What happens next  {outlook.sentence}",
        *([f"When               {outlook.at:%Y-%m-%d %H:%M:%S} UTC"] if outlook.at else []),
        f"Who asked for it   {matching.sentence}",
    ]
    for asked in matching.subscriptions:
        subscription = asked.subscription
        since = f" Since the event: {asked.change or 'made'}." if asked.changed_at else ""
        lines.append(f"  {subscription.pk} “{subscription.pattern}”: {asked.wish.sentence}{since}")
    return [shown(line) for line in lines]


def _timeline(explanation: Explanation) -> Table:
    table = Table("at (UTC)", "state", "what happened", "by")
    for moment in explanation.timeline:
        what = shown(moment.sentence)
        if moment.attempt is not None:
            steps = moment.attempt.steps.items()
            what += "\n" + ", ".join(f"{step} {taken} ms" for step, taken in steps)
        at = f"{moment.at:%Y-%m-%d %H:%M:%S.%f}"[:-3]
        table.add_row(at, moment.state, what, shown(moment.by))
    return table
