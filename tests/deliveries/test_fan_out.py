from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from deliveries.emit import emit
from deliveries.fan_out import fan_out_chunk
from deliveries.models import Delivery, Event
from subscriptions.ids import from_uuid
from tests.conftest import Configure, MakeEndpoint
from tests.subscriptions.test_filtering import COSTLY

pytestmark = pytest.mark.django_db


@pytest.fixture
def event(make_endpoint: MakeEndpoint, configure: Configure) -> Event:
    """An event for seven endpoints, one of them paused, that is yet to be fanned out by threes."""
    configure(FAN_OUT_INLINE_LIMIT=0, FAN_OUT_CHUNK=3)
    for number in range(7):
        make_endpoint(state="paused" if number == 4 else "active")
    return emit("invoice.paid", {})


def test_each_chunk_makes_the_next_few_deliveries_until_all_are_made(event: Event) -> None:
    chunks = [fan_out_chunk(event.pk) for _ in range(4)]
    assert [chunk and len(chunk.pending) for chunk in chunks] == [3, 2, 1, None]
    event.refresh_from_db()
    assert event.delivery_count == 7
    assert event.fanned_out_at is not None
    rung = {from_uuid("dlv", delivery) for chunk in chunks if chunk for delivery in chunk.pending}
    assert rung == set(Delivery.objects.filter(state="pending").values_list("pk", flat=True))
    assert Delivery.objects.filter(state="held").count() == 1


def test_when_it_dies_half_way_it_goes_on_from_the_last_chunk(event: Event) -> None:
    fan_out_chunk(event.pk)
    with transaction.atomic():
        fan_out_chunk(event.pk)
        transaction.set_rollback(True)
    assert Delivery.objects.count() == 3
    while fan_out_chunk(event.pk) is not None:
        pass
    event.refresh_from_db()
    assert Delivery.objects.count() == event.delivery_count == 7


def test_run_again_from_the_start_it_makes_no_second_delivery(event: Event) -> None:
    while fan_out_chunk(event.pk) is not None:
        pass
    Event.objects.update(fanned_out_at=None, fan_out_after=None)
    while fan_out_chunk(event.pk) is not None:
        pass
    event.refresh_from_db()
    assert Delivery.objects.count() == event.delivery_count == 7


def test_filters_and_channels_decide_and_the_chunks_go_by_what_was_looked_at(
    make_endpoint: MakeEndpoint, configure: Configure
) -> None:
    configure(FAN_OUT_INLINE_LIMIT=0, FAN_OUT_CHUNK=2)
    endpoints = [make_endpoint() for _ in range(7)]
    for number, endpoint in enumerate(endpoints):
        endpoint.subscriptions.update(filter=f"n == `{number}`", channels=["eu"])
    for endpoint in endpoints[4:6]:
        endpoint.subscriptions.update(filter="")
    event = emit("invoice.paid", {"n": 6}, channels=["eu"])
    chunks = []
    while (made := fan_out_chunk(event.pk)) is not None:
        chunks.append(made.count)
    event.refresh_from_db()
    assert chunks == [0, 0, 2, 1]
    assert event.delivery_count == 3
    assert {delivery.endpoint for delivery in event.deliveries.all()} == set(endpoints[4:])


def test_costly_filters_make_the_chunks_smaller(
    make_endpoint: MakeEndpoint, configure: Configure
) -> None:
    configure(FAN_OUT_INLINE_LIMIT=0)
    for number in range(12):
        make_endpoint().subscriptions.update(filter=f"{COSTLY} == `{number}`")
    event = emit("invoice.paid", [1])
    chunks = []
    while (made := fan_out_chunk(event.pk)) is not None:
        chunks.append(made.count)
    assert len(chunks) > 1
    assert all(chunks[:-1])
    assert sum(chunks) == Delivery.objects.count() == 12


def test_a_fan_out_without_a_filter_does_not_read_the_data(event: Event) -> None:
    with CaptureQueriesContext(connection) as captured:
        fan_out_chunk(event.pk)
    assert "payload" not in str([query["sql"] for query in captured])


def test_an_event_that_is_not_there_has_no_chunk() -> None:
    assert fan_out_chunk("evt_" + "0" * 32) is None


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_make_each_delivery_once(event: Event) -> None:
    def work(_: int) -> int:
        try:
            made = 0
            while (chunk := fan_out_chunk(event.pk)) is not None:
                made += len(chunk.pending)
            return made
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        made = sum(pool.map(work, range(4)))
    event.refresh_from_db()
    assert made == 6
    assert Delivery.objects.count() == event.delivery_count == 7
