from collections.abc import Iterator

import pytest

from config.celery import app
from deliveries.bell import QUEUE, Bell
from tests.faults.broker import Broker


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker()
    yield broker
    broker.close()


def test_a_broker_answers_where_it_takes_a_new_connection(broker: Broker) -> None:
    bell = Bell(app, broker.url)
    assert bell.is_answered()
    broker.road.cut()
    assert not bell.is_answered()
    broker.road.open()
    assert bell.is_answered()


def test_a_connection_that_outlives_the_way_to_the_broker_is_no_answer(broker: Broker) -> None:
    bell = Bell(app, broker.url)
    assert bell.waiting(QUEUE) == 0
    broker.road.refuse()
    assert bell.waiting(QUEUE) == 0
    assert not bell.is_answered()
