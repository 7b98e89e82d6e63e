"""Commands whose --help ends with examples."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandParser, DjangoHelpFormatter


class HelpFormatter(DjangoHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Django's order of options, and our own line breaks."""


class CommandWithExamples(BaseCommand):
    examples: str
    """What --help ends with; `%(prog)s` stands for the command."""

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        options |= {"formatter_class": HelpFormatter, "epilog": self.examples}
        return super().create_parser(prog_name, subcommand, **options)
