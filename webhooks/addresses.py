"""Which URLs and network addresses a delivery may be sent to.

The URL is judged once more before each attempt, and every address that its host name resolves to is
judged before a connection is opened. Nothing here looks a name up.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL_LENGTH = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}


class InvalidAddressPolicy(ValueError):
    """A policy was given a network or a range of ports that is none; the message says which."""


class InvalidEndpointUrl(ValueError):
    """Nothing may be sent to a URL; the message says what to change, and holds nothing secret."""


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What the operator allows. A blocked network stays closed, whatever else is said of it."""

    allowed_networks: tuple[Network, ...] = ()
    blocked_networks: tuple[Network, ...] = ()
    allow_http: bool = False
    allow_single_labels: bool = False
    allowed_ports: tuple[range, ...] = (range(80, 81), range(443, 444), range(1024, 65_536))

    @classmethod
    def from_strings(
        cls,
        *,
        allowed_networks: Iterable[str] = (),
        blocked_networks: Iterable[str] = (),
        allow_http: bool = False,
        allow_single_labels: bool = False,
        allowed_ports: Iterable[str] = ("80", "443", "1024-65535"),
    ) -> Self:
        """A policy from settings: networks as in 10.0.0.0/8, ports as in 443 or 1024-65535."""
        return cls(
            allowed_networks=tuple(map(_network, allowed_networks)),
            blocked_networks=tuple(map(_network, blocked_networks)),
            allow_http=allow_http,
            allow_single_labels=allow_single_labels,
            allowed_ports=tuple(map(_ports, allowed_ports)),
        )


@dataclass(frozen=True, slots=True)
class Target:
    """A URL in the parts and in the form in which it is requested.

    The host is in lower case and, if it is an IPv6 address, without its brackets.
    """

    url: str
    scheme: str
    host: str
    port: int
    is_literal: bool


def authority(host: str, port: int) -> str:
    """A host and a port as they stand in a URL, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise InvalidAddressPolicy(f"Write a network as in 10.0.0.0/8: {error}.") from error


def _ports(text: str) -> range:
    match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 0 < first <= last < 65_536:
        raise InvalidAddressPolicy(f"Write ports as in 443 or 1024-65535, not {text!r}.")
    return range(first, last + 1)


# The IANA special-purpose address registries (RFC 6890), kept here as Python's own copies of them
# differ between its versions, and what they leave out: multicast, Azure's metadata address.
_SPECIAL_IPV4 = {
    IPv4Network(network): name
    for network, name in {
        "0.0.0.0/8": "this host's own network",
        "10.0.0.0/8": "a private network",
        "100.64.0.0/10": "the carrier-grade NAT network",
        "127.0.0.0/8": "the loopback network",
        "168.63.129.16/32": "the Azure platform",
        "169.254.0.0/16": "the link-local network",
        "172.16.0.0/12": "a private network",
        "192.0.0.0/24": "a network for protocol assignments",
        "192.0.2.0/24": "a documentation network",
        "192.88.99.0/24": "the 6to4 relay network",
        "192.168.0.0/16": "a private network",
        "198.18.0.0/15": "the benchmarking network",
        "198.51.100.0/24": "a documentation network",
        "203.0.113.0/24": "a documentation network",
        "224.0.0.0/4": "the multicast network",
        "240.0.0.0/4": "a reserved network",
    }.items()
}
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_SPECIAL_IPV6 = {
    IPv6Network(network): name
    for network, name in {
        "::/128": "the unspecified address",
        "::1/128": "the loopback address",
        "64:ff9b::/96": "the NAT64 network",
        "2001::/23": "a network for protocol assignments",
        "2001:db8::/32": "a documentation network",
        "2002::/16": "the 6to4 network",
        "3fff::/20": "a documentation network",
        "fc00::/7": "a private network",
        "fe80::/10": "the link-local network",
        "fec0::/10": "the site-local network",
        "ff00::/8": "the multicast network",
    }.items()
}
# An IPv4 address in disguise: an allowed or a blocked network would not recognise it.
_DISGUISES = (
    IPv6Network("::/96"),
    IPv6Network("::ffff:0:0/96"),
    IPv6Network("::ffff:0:0:0/96"),
    IPv6Network("64:ff9b:1::/48"),
)
_NAT64 = IPv6Network("64:ff9b::/96")


def refusal(address: Address, policy: AddressPolicy) -> str | None:
    """Where an address lies, if nothing may be sent there ("a private network (10.0.0.0/8)").

    An allowed network opens what is refused otherwise, with two exceptions: zone ids and IPv4
    addresses in IPv6 form stay refused, and an address of NAT64, 6to4 or Teredo is refused unless
    the IPv4 address inside it may be sent to as well.
    """
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return "a zone of this host"
        if int(address) > 1 and any(address in network for network in _DISGUISES):
            return "an IPv4 network in IPv6 form"
    for network in policy.blocked_networks:
        if address in network:
            return f"a blocked network ({network})"
    if any(address in network for network in policy.allowed_networks):
        inside = _ipv4_inside(address)
        return refusal(inside, policy) if inside else None
    special = _SPECIAL_IPV4 if isinstance(address, IPv4Address) else _SPECIAL_IPV6
    for network, name in special.items():
        if address in network:
            return f"{name} ({network})"
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return f"no public network (outside {_GLOBAL_UNICAST})"
    return None if address.is_global else "no public network"


def _ipv4_inside(address: Address) -> IPv4Address | None:
    """The IPv4 address to which NAT64 (RFC 6052), Teredo or 6to4 would pass packets on."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.teredo[1] if address.teredo else address.sixtofour


_VISIBLE_ASCII = re.compile(r"[!-~]*")
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[^:\[\]]*))?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# RFC 3986 3.3 and 3.4
_RESOURCE = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*")
_DOT_SEGMENT = re.compile(r"/(?:\.|%2e){1,2}(?=/|$)", re.IGNORECASE)
_ESCAPE = re.compile(r"%..")


def parse_url(url: str, policy: AddressPolicy) -> Target:
    """Take an endpoint's URL apart; raise InvalidEndpointUrl unless it may be sent to.

    It is stricter than RFC 3986: whatever two readers might understand in two ways is refused.
    """
    if len(url) > MAX_URL_LENGTH:
        raise InvalidEndpointUrl(f"Shorten the URL to {MAX_URL_LENGTH} characters.")
    if not url.isascii():
        raise InvalidEndpointUrl(
            "Write the URL in ASCII: the host in its punycode form (xn--…), the rest "
            "percent-encoded."
        )
    if not _VISIBLE_ASCII.fullmatch(url):
        raise InvalidEndpointUrl("Remove the spaces, tabs, line ends and control characters.")
    if "\\" in url:
        raise InvalidEndpointUrl("Remove the backslash, or percent-encode it (%5C).")
    if "#" in url:
        raise InvalidEndpointUrl("Remove the fragment (from # on): it is never sent.")
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in DEFAULT_PORTS:
        raise InvalidEndpointUrl("Begin the URL with https://.")
    if scheme == "http" and not policy.allow_http:
        raise InvalidEndpointUrl("Use https://: http:// is not allowed here.")

    hierarchy, _, query = rest.partition("?")
    authority, _, path = hierarchy.partition("/")
    if "@" in authority:
        raise InvalidEndpointUrl("Remove the user name and password (all before @) from the URL.")
    match = _AUTHORITY.fullmatch(authority)
    if not match:
        raise InvalidEndpointUrl("Give one host, one port at most, and IPv6 addresses in brackets.")
    host, is_literal = _host(match["host"].lower(), policy)
    port = DEFAULT_PORTS[scheme] if match["port"] is None else _port(match["port"], policy)

    resource = f"/{path}?{query}" if query else f"/{path}"
    if not _RESOURCE.fullmatch(resource):
        raise InvalidEndpointUrl(
            "Percent-encode whatever in the path and the query is not a letter, a digit or one of "
            "-._~!$&'()*+,;=:@/? (and a % itself as %25)."
        )
    if _DOT_SEGMENT.search(f"/{path}"):
        raise InvalidEndpointUrl("Remove the . and .. segments from the path.")

    netloc = f"[{host}]" if ":" in host else host
    if port != DEFAULT_PORTS[scheme]:
        netloc += f":{port}"
    resource = _ESCAPE.sub(lambda escape: escape[0].upper(), resource)
    return Target(f"{scheme}://{netloc}{resource}", scheme, host, port, is_literal)


def _port(text: str, policy: AddressPolicy) -> int:
    if not _PORT.fullmatch(text) or int(text) > 65_535:
        raise InvalidEndpointUrl("Write the port as a number from 1 to 65535, or leave its : out.")
    if not any(int(text) in ports for ports in policy.allowed_ports):
        allowed = ", ".join(
            f"{ports[0]}-{ports[-1]}" if len(ports) > 1 else f"{ports[0]}"
            for ports in policy.allowed_ports
        )
        raise InvalidEndpointUrl(f"Choose an allowed port: {allowed}.")
    return int(text)


def _host(host: str, policy: AddressPolicy) -> tuple[str, bool]:
    """The host in its canonical form, and whether it is an address."""
    if not host:
        raise InvalidEndpointUrl("Give a host: https://example.com/.")
    if host.startswith("["):
        return _literal(host[1:-1], 6, policy), True
    if "%" in host:
        raise InvalidEndpointUrl("Write the host without percent-encoding.")
    if host.endswith("."):
        raise InvalidEndpointUrl("Remove the full stop after the host.")
    if len(host) > 253:
        raise InvalidEndpointUrl("Shorten the host to 253 characters.")
    labels = host.split(".")
    # Resolvers read 2130706433, 0x7f.1 and 0177.0.0.1 as addresses, each in its own way.
    if _NUMBER.fullmatch(labels[-1]):
        return _literal(host, 4, policy), True
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidEndpointUrl(
            "Write the host as labels of 1 to 63 letters, digits and inner hyphens, joined by "
            "single full stops."
        )
    if len(labels) == 1 and not policy.allow_single_labels:
        raise InvalidEndpointUrl("Give the host's full name, as in hooks.example.com.")
    return host, False


def _literal(text: str, version: int, policy: AddressPolicy) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        address = None
    if address is None or address.version != version:
        raise InvalidEndpointUrl(
            "Write an IPv4 address as four decimal numbers from 0 to 255, without leading zeros."
            if version == 4
            else "Write an IPv6 address in brackets as in [2606:4700::1111]."
        )
    if where := refusal(address, policy):
        raise InvalidEndpointUrl(f"Choose a public address: this one is in {where}.")
    return str(address)
