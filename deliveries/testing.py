"""A test event: sent at once, by the process that is asked, and shown with its answer.

It is no delivery and leaves no record. While it is under way a thread of the web server waits for
somebody's endpoint, so that it is short, and few may be under way at a time.
"""

import gzip
from dataclasses import dataclass, field, replace
from threading import BoundedSemaphore

from deliveries.conf import DeliverySettings
from deliveries.plain_lane import requests_sender
from deliveries.probing import probe
from deliveries.rendering import Unrenderable
from subscriptions.conf import SubscriptionSettings, part
from subscriptions.models import Endpoint
from webhooks.sending.outcome import Outcome, OutgoingRequest
from webhooks.sending.requests_sender import SeenHeaders

TEST_EVENT = "angarium.test"

TIMEOUT = 10.0
"""Seconds for the exchange, if TIMEOUT of the settings is not shorter."""

AT_ONCE = 4
"""So many tests may be under way in one process."""

_turns = BoundedSemaphore(AT_ONCE)


class NotTestable(Exception):
    """An endpoint that may not be sent a test event as it is; the message says why."""


class TooManyTests(Exception):
    """As many tests as may be are under way."""


@dataclass(frozen=True, slots=True)
class ShownExchange:
    """A test event's request and what came of it, with the credentials blotted out."""

    url: str
    outcome: Outcome
    request_headers: dict[str, str] = field(default_factory=dict)
    request_body: str = ""
    response_headers: dict[str, str] = field(default_factory=dict)


def send_test_event(endpoint: Endpoint) -> ShownExchange:
    """Send an endpoint an event, whatever it asked for, in the shape that it asked for.

    Raises NotTestable, or TooManyTests.
    """
    if endpoint.is_feed:
        raise NotTestable("A feed is not sent anything: emit an event, then fetch the feed.")
    if endpoint.state == Endpoint.State.UNVERIFIED:
        raise NotTestable("The endpoint has not answered its challenge, which comes first.")
    if not _turns.acquire(blocking=False):
        raise TooManyTests("Other test events are under way: try again in a second.")
    try:
        return _send(endpoint)
    finally:
        _turns.release()


def _send(endpoint: Endpoint) -> ShownExchange:
    data = {"message": "This is a test.", "endpoint": endpoint.pk}
    settings = part(DeliverySettings)
    try:
        request = probe(endpoint, TEST_EVENT, data, endpoint.shape)
    except Unrenderable as error:
        return ShownExchange(endpoint.url, error.outcome)
    sender = requests_sender(
        part(SubscriptionSettings), replace(settings, timeout=min(TIMEOUT, settings.timeout))
    )
    seen = SeenHeaders()
    outcome = sender.send(request, seen)
    return ShownExchange(request.url, outcome, seen.request, _text_of(request), seen.response)


def _text_of(request: OutgoingRequest) -> str:
    compressed = request.headers.get("content-encoding") == "gzip"
    return (gzip.decompress(request.body) if compressed else request.body).decode()
