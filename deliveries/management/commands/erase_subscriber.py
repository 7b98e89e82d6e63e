"""manage.py erase_subscriber: a subscriber goes for good, with all that is its own."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from deliveries import erasing
from deliveries.conf import DeliverySettings
from deliveries.models import Erasure
from subscriptions.conf import part
from subscriptions.management.teaching import TeachingCommand
from subscriptions.models import Subscriber


class Command(TeachingCommand):
    help = (
        "Erase a subscriber: its API keys, endpoints, secrets, subscriptions, events, deliveries, "
        "attempts, dead letters and history. It cannot be undone. If it is interrupted, the "
        "workers carry on with it; called again, so does this."
    )
    examples = """\
examples:
  how much there is of a customer, and then to erase it
    $ %(prog)s sub_019b… --dry-run
    $ %(prog)s sub_019b…"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("subscriber", metavar="ID", help="sub_…")
        parser.add_argument("--dry-run", action="store_true", help="count, and change nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *, subscriber: str, dry_run: bool, yes: bool, **options: Any) -> None:
        erasure = Erasure.objects.filter(subscriber=subscriber).first()
        if erasure is None:
            try:
                known = Subscriber.objects.get(pk=subscriber)
            except (Subscriber.DoesNotExist, ValidationError) as error:
                raise CommandError(f"There is no subscriber {subscriber}.") from error
            for line in erasing.extent(known).lines():
                self.stdout.write(line)
            if dry_run:
                return
            if not yes and input(f"To erase {known}, write {known.pk}: ").strip() != known.pk:
                raise CommandError("Nothing was erased.")
            erasure = erasing.begin(known.pk)
        while erasing.carry_on(erasure.pk, part(DeliverySettings).sweep_chunk):
            pass
        erasure.refresh_from_db()
        if erasure.ended_at is None:
            self.stdout.write("What is left is in use just now; the workers carry on with it.")
            return
        self.stdout.write(
            f"erased: {erasure.deliveries:,} deliveries, {erasure.events:,} events, "
            "and the subscriber."
        )
