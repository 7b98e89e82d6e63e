"""Management commands whose --help teaches by examples."""

import argparse
import textwrap
from typing import Any

from django.core.management.base import BaseCommand, CommandParser, DjangoHelpFormatter

WIDTH = 100


class HelpFormatter(DjangoHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Django's order of options, and our own line breaks."""


class TeachingCommand(BaseCommand):
    """A command whose --help ends with `examples`, in which %(prog)s is how it is called."""

    examples: str

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        options |= {"formatter_class": HelpFormatter, "epilog": self.examples}
        parser = super().create_parser(prog_name, subcommand, **options)
        parser.description = textwrap.fill(self.help, WIDTH)
        return parser
