"""Where RabbitMQ is, read from its URL.

amqp://user:password@host:5672/virtual-host
amqps://user:password@host:5671/virtual-host?ssl_ca_certs=/path/ca.pem
"""

import ssl
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from subscriptions.server_url import TLS_OPTIONS, options_of, tls_options

SCHEMES = ("amqp", "amqps")


class AmqpAddress(NamedTuple):
    """What kombu's Connection takes as its first argument and as `ssl`."""

    url: str
    tls: dict[str, Any] | bool = False

    @classmethod
    def parse(cls, url: str) -> "AmqpAddress":
        """Read a URL. Raises InvalidServerUrl."""
        parts = urlsplit(url)
        if parts.scheme == "amqp":
            return cls(url)
        tls = tls_options(options_of(parts, *TLS_OPTIONS))
        verified = tls["ssl_cert_reqs"] == "required"
        given = {
            "ca_certs": tls.get("ssl_ca_certs"),
            "certfile": tls.get("ssl_certfile"),
            "keyfile": tls.get("ssl_keyfile"),
            "cert_reqs": ssl.CERT_REQUIRED if verified else ssl.CERT_NONE,
            # Without the name of the server py-amqp would take a certificate for any.
            "server_hostname": parts.hostname if tls["ssl_check_hostname"] else None,
        }
        return cls(
            url.partition("?")[0], {name: one for name, one in given.items() if one is not None}
        )
