"""Which headers an outgoing request may carry."""

import re
from collections.abc import Mapping

# RFC 9110 5.6.2
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# RFC 9110 5.5, without obs-text: two senders would encode it in two ways.
_VALUE = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")

SENDERS_OWN = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)
"""What the sender alone sets, or leaves out: the request's framing and the connection's."""


class InvalidHeader(ValueError):
    """A header that must not be sent; the message gives its name at most, never its value."""


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise InvalidHeader if a header could split the request or change how it is framed."""
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise InvalidHeader("Use letters, digits and hyphens only in the name of a header.")
        if name.lower() in SENDERS_OWN:
            raise InvalidHeader(f"Leave out the header {name}: the sender sets it.")
        if not _VALUE.fullmatch(value):
            raise InvalidHeader(
                f"Use printable ASCII only, without spaces around it, as the value of {name}."
            )
