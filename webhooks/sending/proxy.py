"""The egress proxy: who it is, and what comes of an exchange that it opens no tunnel for."""

import re
from base64 import b64encode
from dataclasses import dataclass, field
from http.client import responses
from typing import Self
from urllib.parse import unquote

from webhooks.addresses import AddressPolicy, authority, parse_url
from webhooks.sending.outcome import OutcomeKind

ANYWHERE = AddressPolicy.from_strings(
    allowed_networks=["0.0.0.0/0", "::/0"],
    allow_http=True,
    allow_single_labels=True,
    allowed_ports=["1-65535"],
)
"""Where the proxy may be: it is the operator's choice, and mostly has a private address."""

Failure = tuple[OutcomeKind, str]

# Whoever may read of an attempt is not to learn where the proxy is: none of these tells.
UNREACHABLE: Failure = (OutcomeKind.PROXY_FAILED, "no connection to the egress proxy")
UNTRUSTED: Failure = (OutcomeKind.PROXY_FAILED, "the egress proxy's certificate is not accepted")
NO_TLS: Failure = (OutcomeKind.PROXY_FAILED, "TLS with the egress proxy failed")
NO_ANSWER: Failure = (OutcomeKind.PROXY_FAILED, "the egress proxy gave no valid answer")

GATEWAY_ERRORS = frozenset({502, 503, 504})
"""By which proxies say that it is the endpoint that is not found, or not reached in time."""


def refused(status: int) -> Failure:
    """What an answer to CONNECT means that is not 2xx."""
    at_fault = status in GATEWAY_ERRORS
    kind = OutcomeKind.CONNECTION_FAILED if at_fault else OutcomeKind.PROXY_FAILED
    return kind, f"the egress proxy answered {status} {responses.get(status, '')}".rstrip()


_URL = re.compile(
    r"(?P<origin>https?://)(?:(?P<user>[^:@/]+)(?::(?P<password>[^:@/]*))?@)?(?P<place>[^@/?]+)/?",
    re.IGNORECASE,
)


class InvalidEgressProxy(ValueError):
    """Something else than a proxy's URL was given; the message repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class EgressProxy:
    """An HTTP proxy that opens tunnels (CONNECT, RFC 9110 9.3.6); it is reached itself by TLS, or
    in the clear.

    `host` is without brackets; `authorization` is the value of Proxy-Authorization, if any.
    """

    scheme: str
    host: str
    port: int
    authorization: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read http:// or https://, user:password@ (percent-encoded) if need be, host and port."""
        match = _URL.fullmatch(url)
        try:
            if not match:
                raise ValueError
            target = parse_url(match["origin"] + match["place"], ANYWHERE)
            user, password = (
                unquote(match[part] or "", errors="strict") for part in ("user", "password")
            )
            if ":" in user or not (user + password).isprintable():
                raise ValueError
        except ValueError:
            raise InvalidEgressProxy(
                "Write the egress proxy as http://host:port or https://host:port, with "
                "user:password@ before the host, percent-encoded, if it asks for them."
            ) from None
        pair = b64encode(f"{user}:{password}".encode()).decode()
        return cls(target.scheme, target.host, target.port, f"Basic {pair}" if user else "")

    @property
    def url(self) -> str:
        """As curl wants it, without the credentials."""
        return f"{self.scheme}://{authority(self.host, self.port)}"
