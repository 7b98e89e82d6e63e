"""Deliveries that were made at a time of one's own."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from deliveries.models import Attempt, Delivery, Event
from subscriptions.ids import from_uuid, lowest_uuid_at, to_uuid
from subscriptions.models import Endpoint
from tests.conftest import MakeEndpoint

MakePast = Callable[..., Delivery]


def id_at(prefix: str, at: datetime, sample: str) -> str:
    """An id as of a moment, as different from others as `sample` is."""
    random = to_uuid(sample).int & ((1 << 80) - 1)
    return from_uuid(prefix, type(to_uuid(sample))(int=lowest_uuid_at(at).int | random))


@pytest.fixture
def endpoint(make_endpoint: MakeEndpoint) -> Endpoint:
    return make_endpoint()


@pytest.fixture
def make_past(endpoint: Endpoint) -> MakePast:
    """A delivery that was made `ago` and ended so many seconds later, after failed attempts."""

    def make(
        state: str = "delivered",
        *,
        ago: timedelta = timedelta(0),
        after: float = 1.0,
        failed: int = 0,
        duration_ms: int = 20,
        to: Endpoint = endpoint,
        **columns: Any,
    ) -> Delivery:
        at = timezone.now() - ago
        event = Event(type="invoice.paid", payload="{}", delivery_count=1, fanned_out_at=at)
        event.pk = id_at("evt", at, event.pk)
        event.save(force_insert=True)
        Event.objects.filter(pk=event.pk).update(created_at=at)
        ended = at + timedelta(seconds=after)
        if state in ("delivered", "dead", "discarded"):
            columns["ended_at"] = ended
        delivery = Delivery(event=event, endpoint=to, state=state, **columns)
        delivery.pk = id_at("dlv", at, delivery.pk)
        delivery.save(force_insert=True)
        outcomes = ["timed_out"] * failed + ["delivered"] * (state == "delivered")
        Attempt.objects.bulk_create(
            Attempt(
                delivery=delivery,
                number=number,
                outcome=outcome,
                duration_ms=duration_ms,
                ended_at=ended,
            )
            for number, outcome in enumerate(outcomes, 1)
        )
        return delivery

    return make
