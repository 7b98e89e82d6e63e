"""manage.py export_event_types: the catalogue as a file, to be kept beside the code."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from subscriptions import catalogue_file
from subscriptions.management.teaching import TeachingCommand


class Command(TeachingCommand):
    help = (
        "Write the catalogue of event types as JSON, always in the same order, so that a version "
        "control shows what changed. `manage.py import_event_types` reads it."
    )
    examples = """\
examples:
  $ %(prog)s event-types.json
  $ %(prog)s | jq '.event_types[].name'"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file", metavar="FILE", nargs="?", help="where to; the standard output, if left out"
        )

    def handle(self, *, file: str | None, **options: Any) -> None:
        text = catalogue_file.as_text(catalogue_file.export())
        if file is None:
            self.stdout.write(text, ending="")
        else:
            Path(file).write_text(text, encoding="utf-8")
            sys.stderr.write(f"wrote {file}\n")
