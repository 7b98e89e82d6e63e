"""Tells PostgreSQL, with each change that has a history, whose it is.

`subscriptions.middleware.Attribution` has a request's told, `attribute_command` a manage.py
command's; all others, as a worker's, are Angarium's own.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models import TextChoices

CHANGE = re.compile(
    r'\b(INSERT INTO|UPDATE|DELETE FROM) "?(subscriptions_|deliveries_deadletter)', re.IGNORECASE
)
"""A decision on dead letters is written with the deliveries' change of state."""
COMMANDS = frozenset({"manage.py", "django-admin"})


class ActorKind(TextChoices):
    USER = "user"
    API_KEY = "api_key", "API key"
    PORTAL = "portal"  # a subscriber, in the portal
    COMMAND = "command"  # of manage.py
    ANGARIUM = "angarium", "Angarium"  # by itself, as in a worker


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever makes a change; an API key's id is its prefix, the portal's the subscriber's.

    The history has these as columns.
    """

    actor_kind: ActorKind = ActorKind.ANGARIUM
    actor_id: str = ""
    actor_name: str = ""
    ip_address: str = ""
    request_id: str = ""

    def __str__(self) -> str:
        words = {
            ActorKind.API_KEY: f"{self.actor_name} (API key {self.actor_id})",
            ActorKind.PORTAL: f"{self.actor_name} (portal)",
            ActorKind.COMMAND: f"manage.py {self.actor_name}",
            ActorKind.ANGARIUM: "Angarium",
        }
        return words.get(self.actor_kind, self.actor_name)


# Within the transaction alone: the connection may be another's in the next.
TELL = "SELECT " + ", ".join(
    f"set_config('angarium.{field.name}', %s, true)" for field in fields(Actor)
)


class Attributing:
    """An execute wrapper: runs each change in a transaction that knows whose it is."""

    def __init__(self, who: Callable[[], Actor]) -> None:
        self.who = who

    def __call__(
        self,
        execute: Callable[..., Any],
        sql: str,
        parameters: Any,
        many: bool,
        context: dict[str, Any],
    ) -> Any:
        if not CHANGE.search(sql):
            return execute(sql, parameters, many, context)
        changed = context["connection"]
        with transaction.atomic(using=changed.alias, savepoint=False):
            with changed.cursor() as cursor:
                cursor.execute(TELL, astuple(self.who()))
            return execute(sql, parameters, many, context)


def attribute_command(argv: Sequence[str]) -> None:
    """Where this process is a manage.py command, what it changes is that command's."""
    if len(argv) < 2 or Path(argv[0]).name not in COMMANDS:
        return
    attributing = Attributing(lambda: Actor(ActorKind.COMMAND, actor_name=argv[1]))

    def attribute(connection: BaseDatabaseWrapper, **_: object) -> None:
        if attributing not in connection.execute_wrappers:
            # Before a request's own, which has the last word where the command is a server.
            connection.execute_wrappers.insert(0, attributing)

    connection_created.connect(attribute, weak=False)
