"""Angarium's settings: the ANGARIUM dict of Django's settings, typed, with defaults.

Each package describes its own part as a frozen dataclass; `part` fills one in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, TypeVar

from django.conf import settings

from webhooks.addresses import AddressPolicy
from webhooks.sending.proxy import EgressProxy

Part = TypeVar("Part")


# Each with the dict that it was made of: where settings are changed, as tests do, it is another.
_parts: dict[type, tuple[Mapping[str, Any], Any]] = {}
NOTHING: Mapping[str, Any] = {}


def part(kind: type[Part]) -> Part:
    """An instance of `kind`, each field taken from ANGARIUM by its name in capitals, if there."""
    given: Mapping[str, Any] = getattr(settings, "ANGARIUM", NOTHING)
    known = _parts.get(kind)
    if known is None or known[0] is not given:
        known = _parts[kind] = given, _made(kind, given)
    made: Part = known[1]
    return made


def _made(kind: type[Part], given: Mapping[str, Any]) -> Part:
    return kind(
        **{
            field.name: _frozen(given[field.name.upper()])
            for field in fields(kind)  # type: ignore[arg-type]
            if field.name.upper() in given
        }
    )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class SubscriptionSettings:
    """What concerns endpoints and the API. Times are in seconds."""

    api_rate: str = "100/s"
    """How many requests an API key may make (/s, /m, /h or /d), unless it says so; empty: any."""
    redis_url: str = "redis://127.0.0.1:6379/0"
    """Where they are counted, and how endpoints fare, for all processes together."""
    proxies: int = 0
    """How many proxies of your own stand in front, each of which adds to X-Forwarded-For."""

    unknown_event_types: str = "allow"
    """`allow` or `refuse` events and subscriptions of a type that is not in the catalogue."""
    catalogue_age: float = 5.0
    """How late a process may see a change of the catalogue when it emits; in seconds."""

    circuit_failure_rate: float = 0.5
    """The share of failures that opens an endpoint's circuit; 0: circuits do not open."""
    circuit_results: int = 10
    """How many results there must be to go by."""
    circuit_window: float = 60.0
    """How far back results count."""
    circuit_wait: float = 30.0
    """How long a circuit stays open before a delivery probes the endpoint; doubled each time."""
    circuit_wait_max: float = timedelta(minutes=15).total_seconds()
    """The longest that grows to."""
    disable_after: float = timedelta(days=5).total_seconds()
    """An endpoint with nothing but failures for so long is disabled; 0: none is."""

    encryption_keys: tuple[str, ...] = ()
    """Fernet keys, newest first: the first encrypts, all decrypt."""
    secret_overlap: float = timedelta(days=1).total_seconds()
    """How long a signing secret still signs after its successor has come."""
    require_handshake: bool = False
    """Whether every new endpoint has to answer a challenge before anything is sent to it."""
    allow_http: bool = False
    """Whether endpoints may be http:// as well as https://."""
    allow_single_labels: bool = False
    """Whether a host may be one bare word (localhost, or a name inside a container network)."""
    allowed_networks: tuple[str, ...] = ()
    """Networks open to deliveries though they are not public, as in 10.1.0.0/16."""
    blocked_networks: tuple[str, ...] = ()
    """Networks closed to deliveries though they are public; stronger than ALLOWED_NETWORKS."""
    allowed_ports: tuple[str, ...] = ("80", "443", "1024-65535")
    """Ports that endpoints may have, as in 443 or 1024-65535."""

    egress_proxy: str = field(default="", repr=False)
    """The HTTP proxy that all requests go through, as http://user:password@host:port; or none.

    What a host name resolves to is then the proxy's to look up and to judge.
    """

    def proxy(self) -> EgressProxy | None:
        return EgressProxy.parse(self.egress_proxy) if self.egress_proxy else None

    def address_policy(self) -> AddressPolicy:
        return AddressPolicy.from_strings(
            allowed_networks=self.allowed_networks,
            blocked_networks=self.blocked_networks,
            allow_http=self.allow_http,
            allow_single_labels=self.allow_single_labels,
            allowed_ports=self.allowed_ports,
        )
