"""manage.py export_subscriber: all that is on record of one subscriber, as lines of JSON."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from deliveries.subscriber_export import export
from subscriptions.management.teaching import TeachingCommand
from subscriptions.models import Subscriber


class Command(TeachingCommand):
    help = (
        "Write all that is on record of a subscriber to the standard output, one JSON object a "
        'line, which says as "record" what it is. No secret is in it.'
    )
    examples = """\
examples:
  all of one customer, packed
    $ %(prog)s sub_019b… | gzip > customer.ndjson.gz"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("subscriber", metavar="ID", help="sub_…")

    def handle(self, *, subscriber: str, **options: Any) -> None:
        try:
            known = Subscriber.objects.get(pk=subscriber)
        except (Subscriber.DoesNotExist, ValidationError) as error:
            raise CommandError(f"There is no subscriber {subscriber}.") from error
        for line in export(known.pk):
            self.stdout.write(line, ending="")
