"""manage.py create_api_key: let one more producer, or a subscriber, use the API."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.utils import timezone

from subscriptions.management.teaching import TeachingCommand
from subscriptions.models import ApiKey


def later(text: str) -> datetime:
    """A time in ISO 8601, in UTC where it does not say; it must be yet to come."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(
            f"{text!r} is no time: write 2027-01-31 or 2027-01-31T12:00Z"
        ) from error
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    if time <= timezone.now():
        raise ArgumentTypeError(f"{text!r} is past")
    return time


class Command(TeachingCommand):
    help = "Make an API key and print it, this once: only its hash is stored."
    examples = """\
examples:
  for an application that emits events, and does nothing else
    $ %(prog)s shop --scope emit

  for a subscriber that fetches its own feed, until the end of January
    $ %(prog)s carpets --subscriber sub_019b… --scope read --expires 2027-01-31

A key is shown to the API as `Authorization: Bearer KEY`. It is revoked in the admin."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="whose key it is; 50 characters at most")
        parser.add_argument(
            "--scope",
            dest="scopes",
            action="append",
            choices=ApiKey.Scope.values,
            help="what it may do; can be given several times; everything, if left out",
        )
        parser.add_argument(
            "--subscriber", metavar="ID", help="the one subscriber that it sees and emits for"
        )
        parser.add_argument(
            "--expires", metavar="TIME", type=later, help="when it ends, as in 2027-01-31"
        )
        parser.add_argument("--rate", default="", help="its own rate, as in 100/s")

    def handle(
        self,
        *,
        name: str,
        scopes: list[str] | None,
        subscriber: str | None,
        expires: datetime | None,
        rate: str,
        **options: Any,
    ) -> None:
        api_key = ApiKey(name=name, subscriber_id=subscriber, expiry_date=expires, rate=rate)
        if scopes is not None:
            api_key.scopes = scopes
        key = ApiKey.objects.assign_key(api_key)
        try:
            api_key.full_clean()
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        api_key.save()
        self.stdout.write(key)
