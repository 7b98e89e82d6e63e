"""Which headers an outgoing request may carry."""

import re
from collections.abc import Mapping

from webhooks import profiles

# RFC 9110 5.6.2
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# RFC 9110 5.5, without obs-text: two senders would encode it in two ways.
_VALUE = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")
_NO_ALPHANUMERIC = re.compile(r"[^0-9a-z]")

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


TRACEPARENT = "traceparent"
"""Which trace a request belongs to (W3C Trace Context, 3.2)."""

OUR_PREFIXES = ("content-", "webhook-")
"""How the names begin that only the rendering of a delivery sets."""

OURS = profiles.HEADERS | SENDERS_OWN | {TRACEPARENT}

MAX_CUSTOM_HEADERS = 20
MAX_CUSTOM_BYTES = 4 * 1024
"""Of all custom headers of an endpoint together, names and values."""


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


def check_custom_headers(headers: Mapping[str, str]) -> None:
    """Raise InvalidHeader unless an endpoint's owner may have these sent along.

    Receivers behind CGI or WSGI (RFC 3875, 4.1.18) see no difference between `webhook_id` or
    `webhook.id` and `webhook-id`: what is ours is refused in any such spelling.
    """
    if len(headers) > MAX_CUSTOM_HEADERS:
        raise InvalidHeader(f"Use {MAX_CUSTOM_HEADERS} headers at most.")
    check_headers(headers)
    if sum(len(name) + len(value) for name, value in headers.items()) > MAX_CUSTOM_BYTES:
        raise InvalidHeader(f"Shorten the headers to {MAX_CUSTOM_BYTES} bytes in all.")
    spellings = [_NO_ALPHANUMERIC.sub("-", name.lower()) for name in headers]
    for name, spelling in zip(headers, spellings, strict=True):
        if spelling.startswith(OUR_PREFIXES) or spelling in OURS:
            raise InvalidHeader(f"Leave out the header {name}: Angarium sets it.")
        if spellings.count(spelling) > 1:
            raise InvalidHeader(f"Name the header {name} once only.")
