"""An endpoint's custom headers and authentication together: checked, stored, shown, sent."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

from subscriptions.authentication import Authentication, NoAuthentication, stored
from webhooks.sending.credentials import Credentials
from webhooks.sending.headers import InvalidHeader, check_custom_headers

REMEMBERED = 10_000


@dataclass(frozen=True)
class EndpointCredentials:
    """What an endpoint's deliveries carry beside their signature."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    authentication: Authentication = field(default_factory=NoAuthentication)

    def __bool__(self) -> bool:
        return bool(self.headers) or not isinstance(self.authentication, NoAuthentication)

    def changed(
        self,
        *,
        headers: Mapping[str, str] | None = None,
        authentication: Authentication | None = None,
    ) -> "EndpointCredentials":
        """The same with other headers, another authentication, or both."""
        return EndpointCredentials(
            self.headers if headers is None else headers,
            self.authentication if authentication is None else authentication,
        )

    def check(self) -> None:
        """Raise InvalidHeader unless the headers may be sent, beside the authentication's."""
        check_custom_headers(self.headers)
        own = self.authentication.to_send()
        taken = {name.lower() for name in own.headers} | (
            {"authorization"} if own.oauth2 else set()
        )
        for name in self.headers:
            if name.lower() in taken:
                raise InvalidHeader(f"Leave out the header {name}: the authentication sets it.")

    def shown(self) -> dict[str, Any]:
        """What may be seen: the headers' names, and of the authentication what is not secret."""
        return {"header_names": list(self.headers), "authentication": self.authentication.shown()}

    def as_json(self) -> str:
        """All of it, secrets included."""
        return json.dumps(
            {"headers": dict(self.headers), "authentication": self.authentication.as_stored()}
        )

    @cached_property
    def to_send(self) -> Credentials:
        """What is given to a sender."""
        own = self.authentication.to_send()
        return replace(
            own,
            headers={**self.headers, **own.headers},
            secrets=(*own.secrets, *self.headers.values()),
        )


# Every delivery to the endpoint needs them.
@lru_cache(REMEMBERED)
def parse_credentials(text: str) -> EndpointCredentials:
    """Read again what as_json has written."""
    document = json.loads(text)
    return EndpointCredentials(document["headers"], stored(document["authentication"]))
