from collections.abc import Iterator
from uuid import uuid4

import pytest
from redis import Redis

from config.celery import app
from deliveries.bell import DELIVER, QUEUE, Bell
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


def test_a_hundred_messages_go_to_the_broker_together(broker: Broker) -> None:
    bell = Bell(app, broker.url)
    bell.publish(DELIVER, [(str(uuid4()), None)])  # what is asked once is asked here
    with Redis(port=broker.port) as redis:

        def reads() -> int:
            return int(redis.info("stats")["total_reads_processed"])

        before = reads()
        bell.publish(DELIVER, [(str(uuid4()), None) for _ in range(100)])
        assert redis.llen(QUEUE) == 101
        assert reads() - before < 20
