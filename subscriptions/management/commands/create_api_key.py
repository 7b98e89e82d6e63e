"""manage.py create_api_key: let one more producer use the API."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from subscriptions.models import ApiKey


class Command(BaseCommand):
    help = "Make an API key and print it, this once: only its hash is stored."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="whose key it is; 50 characters at most")

    def handle(self, *, name: str, **options: Any) -> None:
        try:
            ApiKey._meta.get_field("name").clean(name, None)
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        _, key = ApiKey.objects.create_key(name=name)
        self.stdout.write(key)
