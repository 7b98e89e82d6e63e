"""The senders, each of which must pass every test of the contract."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import Any, Protocol
from urllib.parse import urlsplit

import pycurl
import pytest
from kombu.asynchronous import Hub

from webhooks.addresses import AddressPolicy
from webhooks.sending.credentials import Credentials
from webhooks.sending.curl_sender import CurlSender
from webhooks.sending.outcome import Limits, Outcome, OutgoingRequest
from webhooks.sending.requests_sender import RequestsSender

LOOPBACK = AddressPolicy.from_strings(allowed_networks=["127.0.0.0/8"], allow_http=True)
PATIENT = Limits(connect_timeout=10, timeout=20)
NAMES = {"receiver.example": ["127.0.0.1"]}

Resolve = Callable[[str], Sequence[str]]


class Sender(Protocol):
    def send(self, request: OutgoingRequest) -> Outcome: ...

    def close(self) -> None: ...


requests_only = pytest.mark.parametrize("make_sender", ["requests"], indirect=True)
"""For tests of threads, and of the resolver that is asked: curl has its own."""

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


class NamingCurl(pycurl.Curl):  # type: ignore[misc]
    """A curl handle that has a name's addresses from us instead of from the system's resolver."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve

    def setopt(self, option: int, value: Any) -> None:
        super().setopt(option, value)
        if option == pycurl.URL:
            url = urlsplit(value)
            host = url.hostname or ""
            if not host.replace(".", "").isdecimal():
                port = url.port or {"http": 80, "https": 443}[url.scheme]
                addresses = ",".join(
                    f"[{address}]" if ":" in address else address for address in self._resolve(host)
                )
                super().setopt(pycurl.RESOLVE, [f"{host}:{port}:{addresses}"])


def look_up(host: str) -> list[str]:
    if host not in NAMES:
        raise OSError(f"no such name: {host}")
    return NAMES[host]


@pytest.fixture(params=["requests", "curl"])
def make_sender(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeSender]:
    """Make a sender that may reach loopback and knows the names above; it is closed in the end."""
    with ExitStack() as stack:

        def make(*, resolve: Resolve = look_up, **options: Any) -> Sender:
            options = {
                "policy": LOOPBACK,
                "limits": PATIENT,
                "user_agent": "Angarium/test",
                **options,
            }
            sender: Sender
            if request.param == "requests":
                sender = RequestsSender(resolve=resolve, **options)
            else:
                curl = partial(NamingCurl, resolve)
                monkeypatch.setattr("webhooks.sending.transfer.pycurl.Curl", curl)
                sender = HubSender(**options)
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
