"""An OAuth2 authorization server on loopback, as a behaviour of the hostile receiver."""

import json
from base64 import b64decode
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from tests.webhooks.sending.behaviours import answer
from tests.webhooks.sending.hostile_receiver import Reader, Request, Writer

CLIENT = ("angarium", "client's: secret%")


@dataclass
class Issuer:
    """Gives a new token for each request of the one client that it knows."""

    lifetime: object = 3600
    padding: int = 0
    """How long to make the tokens."""
    forms: list[dict[str, str]] = field(default_factory=list)
    issued: list[str] = field(default_factory=list)

    async def __call__(self, reader: Reader, writer: Writer) -> None:
        while request := await reader.request():
            status, document = self._answer(request)
            await writer.say(answer(status, json.dumps(document).encode()))

    def _answer(self, request: Request) -> tuple[int, dict[str, Any]]:
        scheme, _, pair = (request.header("authorization") or "").partition(" ")
        client = tuple(unquote_plus(one) for one in b64decode(pair).decode().split(":"))
        if (scheme, client) != ("Basic", CLIENT):
            return 401, {"error": "invalid_client", "error_description": f"not {client}"}
        self.forms.append(dict(parse_qsl(request.body.decode())))
        token = f"token-{len(self.forms)}-" + "x" * self.padding
        self.issued.append(token)
        return 200, {"access_token": token, "token_type": "bearer", "expires_in": self.lifetime}
