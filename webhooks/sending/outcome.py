"""What every sender takes and gives: one request out, one outcome back."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http.client import responses

from webhooks.sending.credentials import Credentials

MAX_ERROR_LENGTH = 300
KEPT_HEADERS = 2 * 1024
"""Characters kept of a response's headers in the outcome."""
THROTTLING = frozenset({429, 502, 504})
"""Statuses by which an endpoint, or what stands before it, asks for less (Standard Webhooks)."""
MAX_RETRY_AFTER = 30 * 24 * 3600.0
REDACTION = "[secret]"
MIN_REDACTED = 6
"""What is shorter is a part of ordinary words, and easily guessed."""


class OutcomeKind(StrEnum):
    """What came of an attempt."""

    DELIVERED = "delivered"
    """2xx."""
    REJECTED = "rejected"
    """Any other final status."""
    REDIRECTED = "redirected"
    """3xx, which is not followed."""
    TIMED_OUT = "timed_out"
    CONNECTION_FAILED = "connection_failed"
    NAME_NOT_RESOLVED = "name_not_resolved"
    TLS_FAILED = "tls_failed"
    PROXY_FAILED = "proxy_failed"
    """The egress proxy opened no tunnel, for a reason of its own."""
    ADDRESS_REFUSED = "address_refused"
    """The policy forbids the URL."""
    NAME_REFUSED = "name_refused"
    """The host name resolves, just now, to an address that the policy forbids."""
    RESPONSE_INVALID = "response_invalid"
    """What came back is not HTTP, or its head is over the limits."""
    AUTHORIZATION_FAILED = "authorization_failed"
    """The OAuth2 token that the request needs could not be fetched."""
    INTERRUPTED = "interrupted"
    """The worker was lost during the attempt."""
    UNRENDERABLE = "unrenderable"
    """No request could be made of the delivery."""


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """A POST, complete but for what the sender adds (see webhooks.sending.headers)."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes
    credentials: Credentials | None = None
    timeout: float | None = None
    """Seconds for the exchange, if it may not take all that the sender's limits allow."""
    kept_response_bytes: int | None = None
    """Kept of the response's body, if not what the limits say."""


@dataclass(frozen=True, slots=True)
class Timings:
    """How long the steps of an exchange took, each by itself, in milliseconds.

    None is a step that it did not come to the end of, or had no need of: a connection that was
    kept open is not looked up, connected or secured again, nor is an address looked up.
    """

    dns: int | None = None
    """The look-up of the name; an egress proxy does that by itself."""
    connect: int | None = None
    """TCP's; with an egress proxy, until that is reached."""
    tls: int | None = None
    """The handshake; with an egress proxy, its tunnel before it too."""
    first_byte: int | None = None
    """From the connection being ready until the response begins: what the endpoint takes."""


NOT_TIMED = Timings()


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt's end. Its texts fit into PostgreSQL: no NUL, no lone surrogates.

    `retry_after` is in seconds. `error` is one line for a person, empty on success.
    """

    kind: OutcomeKind
    status: int | None = None
    duration_ms: int = 0
    response_body: str = field(default="", repr=False)
    response_headers: str = field(default="", repr=False)
    """A line for each, as it came; none on success."""
    retry_after: float | None = None
    error: str = ""
    timings: Timings = NOT_TIMED

    @property
    def succeeded(self) -> bool:
        return self.kind is OutcomeKind.DELIVERED

    @property
    def throttles(self) -> bool:
        return self.status in THROTTLING

    @property
    def endpoint_failed(self) -> bool:
        """Whether the fault lies with the endpoint, not with us."""
        return self.kind not in {
            OutcomeKind.DELIVERED,
            OutcomeKind.PROXY_FAILED,
            OutcomeKind.INTERRUPTED,
            OutcomeKind.UNRENDERABLE,
        }


@dataclass(frozen=True, slots=True)
class Limits:
    """What an attempt may take, in seconds and bytes."""

    connect_timeout: float = 5.0
    """From the name's look-up until the connection is ready, TLS included."""
    timeout: float = 15.0
    """For the whole exchange, from the look-up to the last byte of the response."""
    keep_alive: float = 60.0
    """A connection unused for longer is not used again."""
    max_header_bytes: int = 64 * 1024
    """Of the response: its status line and headers, interim responses included."""
    max_response_bytes: int = 64 * 1024
    """Read of a response's body; a longer one is cut, and its connection closed."""
    kept_response_bytes: int = 4 * 1024
    """Kept of a response's body in the outcome."""


def kind_of(status: int) -> OutcomeKind:
    """Judge a final status. 101 is none: no upgrade was asked for."""
    if status < 200:
        return OutcomeKind.RESPONSE_INVALID
    if status < 300:
        return OutcomeKind.DELIVERED
    return OutcomeKind.REDIRECTED if status < 400 else OutcomeKind.REJECTED


def answered(
    status: int,
    *,
    body: bytes,
    headers: Iterable[str],
    retry_after: str | None,
    duration_ms: int,
    now: datetime,
    timings: Timings = NOT_TIMED,
) -> Outcome:
    """The outcome of an exchange whose response had a status; `body` is what is kept of it.

    `headers` are "name: value". They are read only where the response is no success: there they
    tell who refused, the endpoint or what stands before it.
    """
    kind = kind_of(status)
    delivered = kind is OutcomeKind.DELIVERED
    return Outcome(
        kind=kind,
        status=status,
        duration_ms=duration_ms,
        response_body=_storable(body.decode("utf-8", "replace")),
        response_headers="" if delivered else _kept(headers),
        retry_after=parse_retry_after(retry_after, now),
        error="" if delivered else _describe(status, kind),
        timings=timings,
    )


def failed(
    kind: OutcomeKind, error: str, *, duration_ms: int, timings: Timings = NOT_TIMED
) -> Outcome:
    """The outcome of an exchange without a response."""
    return Outcome(kind=kind, duration_ms=duration_ms, error=one_line(error), timings=timings)


def redacted(outcome: Outcome, secrets: tuple[str, ...]) -> Outcome:
    """The outcome without the secrets that the response repeats, as an echo does.

    The beginning of one, where the body was cut off, is blotted out as well.
    """
    body = blotted(outcome.response_body, secrets)
    headers = blotted(outcome.response_headers, secrets)
    if (body, headers) == (outcome.response_body, outcome.response_headers):
        return outcome
    return replace(outcome, response_body=body, response_headers=headers)


def blotted(text: str, secrets: tuple[str, ...]) -> str:
    """A text that may have been cut off, without the secrets in it."""
    for secret in secrets:
        if len(secret) >= MIN_REDACTED:
            text = _without_beginning(text.replace(secret, REDACTION), secret)
    return text


def _without_beginning(body: str, secret: str) -> str:
    start = max(0, len(body) - len(secret))
    while (start := body.find(secret[:MIN_REDACTED], start)) >= 0:
        if secret.startswith(body[start:]):
            return body[:start] + REDACTION
        start += 1
    return body


def _describe(status: int, kind: OutcomeKind) -> str:
    answer = f"answered {status} {responses.get(status, '')}".rstrip()
    return f"{answer}, which is not followed" if kind is OutcomeKind.REDIRECTED else answer


def _kept(headers: Iterable[str]) -> str:
    """A line for each, but for cookies, which are the endpoint's own secrets."""
    lines = (" ".join(header.split()) for header in headers)
    kept = "\n".join(line for line in lines if not line.lower().startswith("set-cookie"))
    return _storable(kept[:KEPT_HEADERS])


def _storable(text: str) -> str:
    """PostgreSQL takes no NUL."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def one_line(text: str) -> str:
    """A text of unknown origin as one printable, storable line of bounded length."""
    printable = "".join(char if char.isprintable() else " " for char in text[:MAX_ERROR_LENGTH])
    return " ".join(printable.split())


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait by a Retry-After header: a number or a date (RFC 9110 10.2.3).

    None if there is none or it makes no sense; at least 0 and at most MAX_RETRY_AFTER.
    """
    value = (value or "").strip(" \t")
    if re.fullmatch(r"[0-9]+", value):
        return min(float(value), MAX_RETRY_AFTER)
    try:
        date = parsedate_to_datetime(value)
        # The asctime form names no zone: it is in UTC, as all of them are.
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)
