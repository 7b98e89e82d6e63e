"""manage.py send_test_event: what an endpoint is sent, and what it answers."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from deliveries.testing import NotTestable, ShownExchange, send_test_event
from subscriptions.hidden_characters import shown
from subscriptions.management.teaching import TeachingCommand
from subscriptions.models import Endpoint


class Command(TeachingCommand):
    help = (
        "Send an endpoint an event of the type angarium.test, once and at once, whatever it asked "
        "for and also while it is paused, and show the request and the answer. Nothing of it is "
        "recorded. What its custom headers and its authentication have in them is blotted out."
    )
    examples = """\
example:
  $ %(prog)s ep_019b…
  > POST https://example.com/webhooks
  > webhook-id: evt_019b…
  > webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
  >
  > {"type":"angarium.test","timestamp":"2026-07-01T12:00:00Z","data":{…}}
  < 401
  < content-type: application/json
  <
  < {"error": "The webhook is not verified."}
  rejected after 84 ms: answered 401 Unauthorized

exit status:
  0 if it was delivered, 1 if not"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("endpoint", metavar="ENDPOINT", help="its id, ep_…")
        parser.add_argument("--json", action="store_true", help="as one JSON object")

    def handle(self, *, endpoint: str, **options: Any) -> None:
        try:
            exchange = send_test_event(Endpoint.objects.existing().get(pk=endpoint))
        except Endpoint.DoesNotExist as error:
            raise CommandError(f"There is no endpoint {endpoint}.") from error
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        except NotTestable as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(asdict(exchange)) if options["json"] else _text(exchange))
        if not exchange.outcome.succeeded:
            raise SystemExit(1)


def _text(exchange: ShownExchange) -> str:
    outcome = exchange.outcome
    lines = _message(
        ">", f"POST {exchange.url}", exchange.request_headers, exchange.request_body
    ) + _message(
        "<", str(outcome.status or "no answer"), exchange.response_headers, outcome.response_body
    )
    why = f": {outcome.error}" if outcome.error else ""
    return "\n".join([*lines, f"{outcome.kind.value} after {outcome.duration_ms} ms{why}"])


def _message(mark: str, first: str, headers: Mapping[str, str], body: str) -> list[str]:
    """A request or an answer; what a terminal would not show, or would obey, is made visible."""
    lines = [first, *(f"{name}: {value}" for name, value in headers.items())]
    lines += ["", *body.splitlines()] if body else []
    return [f"{mark} {shown(line)}".rstrip() for line in lines]
