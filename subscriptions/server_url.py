"""What the URLs of Redis and of RabbitMQ have in common: their options, and how TLS is verified.

Over TLS a certificate is verified unless `ssl_cert_reqs=none` says not to. The options are those of
redis-py: `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile` (a client's own), `ssl_check_hostname`.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl

TLS_OPTIONS = (
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_cert_reqs",
    "ssl_check_hostname",
)


class InvalidServerUrl(ValueError):
    """A URL of a server that cannot be used; says what to change."""


def options_of(url: SplitResult, *known: str) -> dict[str, str]:
    """Its options. Raises InvalidServerUrl where there is one that is not known."""
    options = dict(parse_qsl(url.query))
    if unknown := sorted(set(options) - set(known)):
        raise InvalidServerUrl(
            f"Take {', '.join(unknown)} out of it: {url.scheme}:// has"
            f" {', '.join(known) or 'no options'}."
        )
    return options


def tls_options(options: Mapping[str, str]) -> dict[str, Any]:
    """Those of TLS, verified unless they say otherwise: kombu would take anybody's certificate.

    Raises InvalidServerUrl.
    """
    given: dict[str, Any] = {name: options[name] for name in TLS_OPTIONS if name in options}
    verified = given.setdefault("ssl_cert_reqs", "required")
    if verified not in ("required", "none"):
        raise InvalidServerUrl(f"Set ssl_cert_reqs to required or none, not {verified!r}.")
    checked = given.get("ssl_check_hostname", "true").lower() != "false"
    return {**given, "ssl_check_hostname": checked and verified == "required"}
