"""Facts as they might be, made up without a database."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deliveries.conf import DeliverySettings
from deliveries.explaining.facts import Facts
from deliveries.models import Attempt, Delivery, Event
from subscriptions.models import Endpoint, Subscriber, Subscription

EMITTED = datetime(2026, 7, 1, 12, tzinfo=UTC)

MakeFacts = Callable[..., Facts]


def after(seconds: float) -> datetime:
    """A moment so many seconds after the event."""
    return EMITTED + timedelta(seconds=seconds)


def attempted(number: int, seconds: float, **fields: Any) -> Attempt:
    """A failure that ended so many seconds after the event, after a tenth of one."""
    failed = {
        "outcome": "rejected",
        "status": 500,
        "error": "answered 500 Internal Server Error",
        "duration_ms": 100,
    }
    return Attempt(number=number, ended_at=after(seconds), **{**failed, **fields})


@pytest.fixture
def make_facts() -> MakeFacts:
    """An event, an endpoint that asks for it, and a delivery in a state, if one is given."""

    def make(state: str | None = None, *, endpoint: Any = None, **options: Any) -> Facts:
        subscriber = Subscriber(name="Shah Abbas")
        event = Event(type="invoice.paid", payload='{"amount":100}', created_at=EMITTED)
        its = {"created_at": after(-60), "url": "https://example.com/", **(endpoint or {})}
        endpoint = Endpoint(subscriber=subscriber, **its)
        # PostgreSQL's to say, if there were one.
        endpoint.takes_deliveries = endpoint.state == "active" and endpoint.circuit == "closed"
        fields = options.pop("delivery", {})
        delivery = None
        if state is not None:
            delivery = Delivery(
                event=event, endpoint=endpoint, state=state, **{"created_at": EMITTED, **fields}
            )
        asks = Subscription(endpoint=endpoint, pattern="invoice.*", created_at=after(-50))
        return Facts(
            **{
                "now": after(3600),
                "event": event,
                "endpoint": endpoint,
                "settings": DeliverySettings(),
                "subscriptions": [asks],
                "delivery": delivery,
                **options,
            }
        )

    return make
