"""What a request shows its receiver beside the signature. No secret is in a repr."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """For mutual TLS, in PEM: the client's certificate, those that vouch for it, and its key."""

    chain: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """What an OAuth2 access token is asked for with (RFC 6749 4.4)."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Headers, a client certificate, a token that the sender fetches: any of them."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What is blotted out of a response that repeats it."""
    certificate: ClientCertificate | None = None
    oauth2: ClientCredentials | None = None
