"""What the tests of deliveries need beside the subscriptions' fixtures."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from deliveries.emit import emit
from deliveries.models import Delivery
from tests.conftest import MakeEndpoint

MakeDelivery = Callable[..., Delivery]


@pytest.fixture
def make_delivery(make_endpoint: MakeEndpoint) -> MakeDelivery:
    """A delivery to a new endpoint, with any of its columns (and its endpoint's) as wanted."""

    def make(*, endpoint: dict[str, Any] | None = None, **columns: Any) -> Delivery:
        owner = make_endpoint("made.*")
        event = emit("made.once", {"n": 1})
        delivery = Delivery.objects.get(event=event, endpoint=owner)
        Delivery.objects.filter(event=event).exclude(pk=delivery.pk).delete()
        Delivery.objects.filter(pk=delivery.pk).update(**columns)
        type(owner).objects.filter(pk=owner.pk).update(**(endpoint or {}))
        owner.subscriptions.all().delete()
        delivery.refresh_from_db()
        return delivery

    return make


def age(delivery: Delivery, column: str, seconds: float) -> None:
    """Put one of a delivery's times so many seconds before the database's now."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE deliveries_delivery SET {column} = now() - make_interval(secs => %s)"
            " WHERE id = %s",
            [seconds, delivery.pk.removeprefix("dlv_")],
        )


def states() -> dict[str, str]:
    """The state of each delivery there is."""
    return dict(Delivery.objects.values_list("pk", "state"))
