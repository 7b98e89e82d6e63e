"""`manage.py rotate_encryption_keys`: bring every stored secret under the newest key."""

from typing import Any

from django.core.management.base import CommandError

from subscriptions.encryption import NotDecryptable
from subscriptions.history import HistoryEntry
from subscriptions.management.teaching import TeachingCommand
from subscriptions.models import Endpoint, SigningSecret
from subscriptions.reencryption import reencrypt

CHUNK = 500
Kind = HistoryEntry.Kind


class Command(TeachingCommand):
    help = (
        "Re-encrypts all stored secrets under the first of ENCRYPTION_KEYS. Put the new key first "
        "and restart everything, run this, then drop the old key. It can be run again at any time."
    )
    examples = """\
example:
  ENCRYPTION_KEYS=old, then ENCRYPTION_KEYS=new,old and a restart of everything
    $ %(prog)s
    42 secrets are encrypted under the newest key.
  then ENCRYPTION_KEYS=new"""

    def handle(self, **_: Any) -> None:
        done = 0
        try:
            for kind, rows, column in (
                (Kind.SIGNING_SECRET, SigningSecret.objects.all(), "ciphertext"),
                (Kind.ENDPOINT, Endpoint.objects.exclude(credentials=None), "credentials"),
            ):
                after = None
                while chunk := reencrypt(rows, column, kind=kind, after=after, limit=CHUNK):
                    done, after = done + len(chunk), chunk[-1]
        except NotDecryptable as error:
            raise CommandError(f"Stopped after {done} secrets. {error}") from error
        self.stdout.write(f"{done} secrets are encrypted under the newest key.")
