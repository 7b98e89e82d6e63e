import pytest
from rest_framework.test import APIClient

from deliveries.models import Delivery, Event
from tests.conftest import MakeEndpoint, Queue


@pytest.mark.parametrize(("state", "expected"), [("active", "pending"), ("paused", "held")])
def test_a_test_event_goes_to_one_endpoint_whatever_it_asked_for(
    api: APIClient, make_endpoint: MakeEndpoint, state: str, expected: str
) -> None:
    endpoint = make_endpoint("order.*", state=state)
    make_endpoint("*")
    response = api.post(f"/api/v1/endpoints/{endpoint.pk}/test/")
    assert response.status_code == 201
    delivery = Delivery.objects.get()
    assert response.json()["type"] == "angarium.test"
    assert response.json()["data"]["endpoint"] == endpoint.pk
    assert response.json()["deliveries"] == [
        {"id": delivery.pk, "endpoint": endpoint.pk, "state": expected}
    ]


@pytest.mark.django_db(transaction=True)
def test_the_workers_are_told_of_a_test_event(
    api: APIClient, make_endpoint: MakeEndpoint, queue: Queue
) -> None:
    api.post(f"/api/v1/endpoints/{make_endpoint().pk}/test/")
    assert queue.deliveries() == {Delivery.objects.get().pk}


def test_there_is_no_test_event_for_an_endpoint_that_is_not_there(
    api: APIClient, make_endpoint: MakeEndpoint
) -> None:
    gone = make_endpoint()
    gone.delete_for_good()
    for key in (gone.pk, "nonsense", "ep_" + "f" * 32):
        assert api.post(f"/api/v1/endpoints/{key}/test/").status_code == 404
    assert not Event.objects.exists()
