"""The senders, each of which must pass every test of the contract."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from tests.webhooks.sending.certificates import Authority
from webhooks.addresses import AddressPolicy
from webhooks.sending.outcome import Limits, Outcome, OutgoingRequest
from webhooks.sending.requests_sender import RequestsSender

SENDERS = [RequestsSender]

LOOPBACK = AddressPolicy.from_strings(allowed_networks=["127.0.0.0/8"], allow_http=True)
PATIENT = Limits(connect_timeout=10, timeout=20)
NAMES = {"receiver.example": ["127.0.0.1"]}

MakeSender = Callable[..., RequestsSender]
Send = Callable[..., Outcome]


def look_up(host: str) -> list[str]:
    if host not in NAMES:
        raise OSError(f"no such name: {host}")
    return NAMES[host]


@pytest.fixture(params=SENDERS)
def make_sender(request: pytest.FixtureRequest) -> Iterator[MakeSender]:
    """Make a sender that may reach loopback and knows the names above; it is closed in the end."""
    with ExitStack() as stack:

        def make(**options: Any) -> RequestsSender:
            defaults = {
                "policy": LOOPBACK,
                "limits": PATIENT,
                "user_agent": "Angarium/test",
                "resolve": look_up,
            }
            sender: RequestsSender = request.param(**{**defaults, **options})
            return stack.enter_context(closing(sender))

        yield make


@pytest.fixture
def send(make_sender: MakeSender) -> Send:
    """Send one request with a new sender."""

    def send(
        url: str, *, body: bytes = b"{}", headers: dict[str, str] | None = None, **options: Any
    ) -> Outcome:
        request = OutgoingRequest(url=url, headers=headers or {}, body=body)
        return make_sender(**options).send(request)

    return send


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))
