"""manage.py import_event_types: the catalogue out of a file."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from subscriptions import catalogue_file
from subscriptions.catalogue_file import BreakingImport, InvalidCatalogue, Report
from subscriptions.management.teaching import TeachingCommand


class Command(TeachingCommand):
    help = (
        "Make the event types of a file that are new, and change those that differ. Those that it "
        "does not name stay. All of it is done, or nothing: a schema that breaks what subscribers "
        "were promised stops it, unless --accept-breaking is given."
    )
    examples = """\
examples:
  what the file would change, and what that would break
    $ %(prog)s event-types.json --dry-run

  from another installation, by its API
    $ curl -H "Authorization: Bearer $KEY" $API/catalogue/export/ | %(prog)s -

  the file is the whole truth: what it does not name is not offered any more
    $ %(prog)s event-types.json --archive-missing"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help="as exported, or - for stdin")
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would be done, and do nothing"
        )
        parser.add_argument(
            "--accept-breaking", action="store_true", help="take schemas that break promises"
        )
        parser.add_argument(
            "--archive-missing", action="store_true", help="archive what the file does not name"
        )

    def handle(self, *, file: str, **options: Any) -> None:
        how = {name: options[name] for name in ("dry_run", "accept_breaking", "archive_missing")}
        try:
            report = catalogue_file.import_catalogue(catalogue_file.read(_content(file)), **how)
        except InvalidCatalogue as error:
            raise CommandError(f"{file}: {error}") from error
        except BreakingImport as error:
            self._tell(error.report)
            raise CommandError(f"{error} Give --accept-breaking to do it all the same.") from error
        self._tell(report)
        if options["dry_run"]:
            self.stdout.write("Nothing was done: this was a dry run.")

    def _tell(self, report: Report) -> None:
        for verb in ("made", "changed", "archived"):
            for name in getattr(report, verb):
                self.stdout.write(f"{verb}: {name}")
        for name, change in report.breaking:
            self.stdout.write(f"breaking: {name} {change}")
        self.stdout.write(f"as they were: {len(report.left)}")


def _content(file: str) -> bytes:
    try:
        if file == "-":
            return sys.stdin.buffer.read()
        with open(file, "rb") as stream:
            return stream.read(catalogue_file.MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error
