"""manage.py endpoints: add an endpoint, hold it back, let it go on, give it another secret."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from django.db.models import Model, QuerySet
from rich.console import Console
from rich.table import Column, Table

from subscriptions.conf import SubscriptionSettings, part
from subscriptions.management.teaching import TeachingCommand
from subscriptions.models import Endpoint, SigningSecret, Subscriber, Subscription
from webhooks.keys import Kind

Row = TypeVar("Row", bound=Model)

ID_WIDTH = len("ep_") + 32

CHANGES: dict[str, tuple[Callable[[Endpoint], Any], str]] = {
    "pause": (Endpoint.pause, "hold its deliveries back until it is resumed"),
    "resume": (Endpoint.resume, "deliver again, what was held back too"),
    "verify": (Endpoint.require_handshake, "hold back until it has answered a challenge"),
}


class Command(TeachingCommand):
    help = "List the endpoints, add one, pause or resume one, or change its signing secret."
    examples = """\
examples:
  an endpoint of a new subscriber, for all that concerns invoices
    $ %(prog)s add https://example.com/webhooks --new-subscriber "Isfahan Carpets" \\
        --subscribe "invoice.*"
    endpoint: ep_019b…
    secret: whsec_…

  one more for a subscriber that is there, by its id or your own; nothing is sent to it before it
  has answered a challenge
    $ %(prog)s add https://example.org/hooks --subscriber customer-17 --subscribe "*" \\
        --handshake

  while its owner mends it
    $ %(prog)s pause ep_019b…
    $ %(prog)s resume ep_019b…

  its secret is known to others: a new one, and an end to the old one
    $ %(prog)s rotate-secret ep_019b…
    $ %(prog)s expire-secrets ep_019b…

A secret is shown when it is made, and the one before goes on signing too for a while
(ANGARIUM_SECRET_OVERLAP). `manage.py send_test_event` shows what an endpoint makes of a request.
Shapes, filters, headers and feeds are for the API and the admin."""

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="do", metavar="ACTION", required=True)
        listing = actions.add_parser("list", help="show those there are, the newest first")
        listing.add_argument("--subscriber", metavar="ID", help="sub_…, or your own id of it")
        listing.add_argument("--state", choices=Endpoint.State.values, help="those in it alone")
        listing.add_argument(
            "--limit", type=int, default=100, metavar="N", help="so many at most; 100"
        )
        adding = actions.add_parser("add", help="add one, and show its secret, this once")
        adding.add_argument("url", metavar="URL", help="where deliveries are POSTed to")
        owner = adding.add_mutually_exclusive_group(required=True)
        owner.add_argument("--subscriber", metavar="ID", help="sub_…, or your own id of it")
        owner.add_argument("--new-subscriber", metavar="NAME", help="whose name this is")
        adding.add_argument(
            "--subscribe",
            dest="patterns",
            metavar="PATTERN",
            action="append",
            default=[],
            help="event types that it asks for: invoice.paid, invoice.* or *; can be given again",
        )
        adding.add_argument("--description", default="", help="for whoever reads the list")
        adding.add_argument(
            "--handshake", action="store_true", help="send nothing before it answers a challenge"
        )
        self._add_kind(adding)
        for name, (_, meaning) in CHANGES.items():
            self._add_endpoint(actions.add_parser(name, help=meaning))
        rotating = actions.add_parser("rotate-secret", help="a new secret, shown this once")
        self._add_endpoint(rotating)
        self._add_kind(rotating)
        self._add_endpoint(
            actions.add_parser("expire-secrets", help="sign with the newest secret alone")
        )

    def _add_endpoint(self, parser: CommandParser) -> None:
        parser.add_argument("endpoint", metavar="ENDPOINT", help="its id, ep_…")

    def _add_kind(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--kind",
            type=Kind,
            choices=list(Kind),
            help="hmac: the receiver has the secret; ed25519: a public key",
        )

    def handle(self, *, do: str, **options: Any) -> None:
        try:
            with transaction.atomic():
                if do == "list":
                    self._list(**options)
                elif do == "add":
                    self._add(**options)
                else:
                    self._change(do, **options)
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error

    def _list(
        self, *, subscriber: str | None, state: str | None, limit: int, **options: Any
    ) -> None:
        found = Endpoint.objects.select_related("subscriber").prefetch_related("subscriptions")
        found = found.filter(state=state) if state else found.existing()
        if subscriber is not None:
            found = found.filter(subscriber=_subscriber(subscriber))
        # The id whole, however narrow the terminal is: the other actions take it.
        table = Table(
            *(Column("endpoint", min_width=ID_WIDTH, overflow="fold"), "subscriber"),
            *("state", "asks for"),
            show_lines=True,
        )
        for one in found[:limit]:
            since = (
                f"\nfailing since {one.failing_since:%Y-%m-%d %H:%M}" if one.failing_since else ""
            )
            asks = "\n".join(wish.pattern for wish in one.subscriptions.all() if wish.enabled)
            table.add_row(f"{one.pk}\n{one}", one.subscriber.name, one.state + since, asks)
        Console(
            file=options.get("stdout") or sys.stdout,
            no_color=options["no_color"],
            highlight=False,
            markup=False,  # names are anybody's
        ).print(table)

    def _add(
        self,
        *,
        url: str,
        subscriber: str | None,
        new_subscriber: str | None,
        patterns: list[str],
        description: str,
        handshake: bool,
        kind: Kind | None,
        **_: Any,
    ) -> None:
        if subscriber is None:
            owner = _saved(Subscriber(name=new_subscriber or ""))
        else:
            owner = _subscriber(subscriber)
        endpoint = _saved(Endpoint(subscriber=owner, url=url, description=description))
        for pattern in patterns:
            _saved(Subscription(endpoint=endpoint, pattern=pattern))
        secret = SigningSecret.objects.issue(endpoint, kind=kind)
        if handshake or part(SubscriptionSettings).require_handshake:
            endpoint.require_handshake()
        self.stdout.write(f"endpoint: {endpoint.pk}")
        self._show(secret)
        for warning in endpoint.warnings():
            self.stderr.write(warning)

    def _change(self, do: str, *, endpoint: str, kind: Kind | None = None, **_: Any) -> None:
        changed = _found(
            Endpoint.objects.sent_to().select_for_update(of=("self",), no_key=True), pk=endpoint
        )
        if do == "rotate-secret":
            self._show(SigningSecret.objects.issue(changed, kind=kind))
        elif do == "expire-secrets":
            self.stdout.write(f"expired: {SigningSecret.objects.expire_replaced(changed)}")
        else:
            CHANGES[do][0](changed)
            self.stdout.write(f"state: {changed.state}")

    def _show(self, secret: SigningSecret) -> None:
        if secret.public_key:
            self.stdout.write(f"public key: {secret.public_key}")
        else:
            self.stdout.write(f"secret: {secret.reveal()}")


def _saved(row: Row) -> Row:
    row.full_clean()
    row.save()
    return row


def _subscriber(given: str) -> Subscriber:
    by = "pk" if given.startswith("sub_") else "external_id"
    return _found(Subscriber.objects.all(), **{by: given})


def _found(rows: QuerySet[Row], **which: str) -> Row:
    row = rows.filter(**which).first()
    if row is None:
        [value] = which.values()
        what = rows.model._meta.verbose_name
        raise CommandError(f"There is no {what} {value}: `list` shows those there are.")
    return row
