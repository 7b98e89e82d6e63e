"""The senders, each of which must pass every test of the contract."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from typing import Any, Protocol

import pytest
from kombu.asynchronous import Hub

from tests.webhooks.sending.hostile_receiver import Behaviour
from webhooks.addresses import AddressPolicy
from webhooks.sending.credentials import Credentials
from webhooks.sending.curl_sender import CurlSender
from webhooks.sending.names import Resolve
from webhooks.sending.outcome import Limits, Outcome, OutgoingRequest
from webhooks.sending.requests_sender import RequestsSender

LOOPBACK = AddressPolicy.from_strings(allowed_networks=["127.0.0.0/8"], allow_http=True)
PATIENT = Limits(connect_timeout=10, timeout=20)
HASTY = Limits(connect_timeout=0.5, timeout=0.5)
GENEROUS_MS = 5_000
"""Ten times the hasty limits: enough to tell an exchange that ended from one that went on."""
FULL_BUFFERS = 30_000_000
"""More than two sockets hold, and far less than an endless response that is read for long."""
NAMES = {"receiver.example": ["127.0.0.1"]}


class Sender(Protocol):
    def send(self, request: OutgoingRequest) -> Outcome: ...

    def close(self) -> None: ...


requests_only = pytest.mark.parametrize("make_sender", ["requests"], indirect=True)
"""For tests of threads: a curl sender has one."""
curl_only = pytest.mark.parametrize("make_sender", ["curl"], indirect=True)
"""For tests of HTTP/2, which the other sender does not speak, and of many exchanges at once."""


def each(behaviours: Mapping[str, Behaviour]) -> pytest.MarkDecorator:
    """Run a test with each behaviour of a group."""
    return pytest.mark.parametrize("behaviour", behaviours.values(), ids=behaviours.keys())


MakeSender = Callable[..., Sender]
Send = Callable[..., Outcome]


class HubSender:
    """A curl sender on a hub that runs for as long as an exchange takes."""

    def __init__(self, **options: Any) -> None:
        self.hub = Hub()
        self.sender = CurlSender(loop=self.hub, **options)

    def send(self, request: OutgoingRequest) -> Outcome:
        outcomes: list[Outcome] = []
        self.sender.start(request, outcomes.append)
        while not outcomes:
            self.hub.run_once()
        [outcome] = outcomes
        return outcome

    def run(self) -> None:
        """Until nothing is in flight."""
        while self.sender.in_flight:
            self.hub.run_once()

    def close(self) -> None:
        self.sender.close()
        self.hub.close()


def look_up(host: str) -> list[str]:
    if host not in NAMES:
        raise OSError(f"no such name: {host}")
    return NAMES[host]


@pytest.fixture(params=["requests", "curl"])
def make_sender(request: pytest.FixtureRequest) -> Iterator[MakeSender]:
    """Make a sender that may reach loopback and knows the names above; it is closed in the end."""
    with ExitStack() as stack:

        def make(*, resolve: Resolve = look_up, **options: Any) -> Sender:
            options = {
                "policy": LOOPBACK,
                "limits": PATIENT,
                "user_agent": "Angarium/test",
                **options,
            }
            make_one = RequestsSender if request.param == "requests" else HubSender
            sender: Sender = make_one(resolve=resolve, **options)
            return stack.enter_context(closing(sender))

        yield make


@pytest.fixture
def send(make_sender: MakeSender) -> Send:
    """Send one request with a new sender."""

    def send(
        url: str,
        *,
        body: bytes = b"{}",
        headers: dict[str, str] | None = None,
        credentials: Credentials | None = None,
        **options: Any,
    ) -> Outcome:
        request = OutgoingRequest(
            url=url, headers=headers or {}, body=body, credentials=credentials
        )
        return make_sender(**options).send(request)

    return send
