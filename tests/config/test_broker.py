"""The bulk transport keeps what kombu's own promises, beside it and in its place."""

from collections.abc import Callable, Iterator
from itertools import chain, zip_longest
from types import MethodType
from typing import Any
from uuid import uuid4

import billiard
import pytest
from django.conf import settings
from kombu import Exchange, Queue
from kombu.message import Message

from config import broker as bulk
from tests.config.consuming import BULK, STOCK, Broker, Listener, a_queue, acknowledge, address

Listen = Callable[..., Listener]

on_both = pytest.mark.parametrize("transport", [STOCK, BULK])


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker(settings.REDIS_URL, f"test-{uuid4().hex}-")
    yield broker
    broker.clear()


@pytest.fixture
def listen(broker: Broker) -> Iterator[Listen]:
    """Start consumers, which are closed at the end."""
    listeners = []

    def start(*queues: str, **options: Any) -> Listener:
        listeners.append(Listener(broker, *queues, **options))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.close()


# What kombu's own transport promises


@pytest.mark.parametrize("consumer", [STOCK, BULK])
@pytest.mark.parametrize("producer", [STOCK, BULK])
def test_every_message_arrives_once_and_in_order(
    broker: Broker, listen: Listen, producer: str, consumer: str
) -> None:
    broker.publish(range(150), transport=producer)
    with broker.connection(producer) as connection:
        sender = connection.Producer()
        with sender.batch():
            for number in range(150, 300):
                sender.publish(number, **address("a"))
    listener = listen(transport=consumer, on_message=acknowledge)
    listener.listen(300)
    listener.run_on()
    assert listener.bodies == list(range(300))
    assert broker.waiting() == []
    assert broker.unacknowledged() == []


@on_both
def test_queues_are_served_in_turn(broker: Broker, listen: Listen, transport: str) -> None:
    broker.publish([f"a{number}" for number in range(40)], "a")
    broker.publish([f"b{number}" for number in range(10)], "b")
    bodies = listen("a", "b", transport=transport, prefetch=15, on_message=acknowledge).listen(50)
    expected = zip_longest(*([body for body in bodies if body[0] == queue] for queue in "ab"))
    assert bodies == [body for body in chain.from_iterable(expected) if body is not None]


@pytest.mark.parametrize("strategy", ["priority", "sorted"])
@on_both
def test_queues_are_served_by_the_chosen_strategy(
    broker: Broker, listen: Listen, transport: str, strategy: str
) -> None:
    for queue in "ba":
        broker.publish([queue] * 20, queue)
    queues = "ba" if strategy == "priority" else "ab"
    listener = listen(*queues, transport=transport, queue_order_strategy=strategy, prefetch=15)
    listener.run_until(lambda: listener.ack_all() or len(listener.messages) == 40)
    assert listener.bodies == [queue for queue in queues for _ in range(20)]


@on_both
def test_the_most_urgent_messages_come_first(
    broker: Broker, listen: Listen, transport: str
) -> None:
    for priority in (9, 3, 0, 6):
        broker.publish([priority] * 5, priority=priority)
    bodies = listen(transport=transport, on_message=acknowledge).listen(20)
    assert bodies == sorted(bodies)


@on_both
def test_no_more_than_the_prefetch_count_is_held(
    broker: Broker, listen: Listen, transport: str
) -> None:
    broker.publish(range(50))
    listener = listen(transport=transport, prefetch=7)
    listener.listen(7)
    listener.run_on()
    assert broker.unacknowledged() == list(range(7))
    for message in listener.messages[:3]:
        message.ack()
    listener.listen(10)
    listener.run_on()
    assert broker.unacknowledged() == list(range(3, 10))
    listener.consumer.qos(prefetch_count=12)
    listener.listen(15)
    listener.run_on()
    assert broker.unacknowledged() == list(range(3, 15))
    assert broker.waiting() == list(range(15, 50))


@on_both
def test_a_rejected_message_is_gone(broker: Broker, listen: Listen, transport: str) -> None:
    broker.publish(["bad"])
    listener = listen(transport=transport)
    listener.listen(1)
    listener.messages[0].reject()
    listener.run_on()
    assert listener.bodies == ["bad"]
    assert (broker.waiting(), broker.unacknowledged()) == ([], [])


@on_both
def test_a_requeued_message_comes_again(broker: Broker, listen: Listen, transport: str) -> None:
    broker.publish(["again", "other"])
    listener = listen(transport=transport, prefetch=1)
    listener.listen(1)
    listener.messages[0].requeue()
    listener.listen(2)
    listener.messages[1].ack()
    assert listener.listen(3) == ["again", "other", "again"]
    assert listener.messages[2].headers["redelivered"]


@on_both
def test_closing_puts_back_what_is_not_acknowledged(
    broker: Broker, listen: Listen, transport: str
) -> None:
    broker.publish(range(20))
    listener = Listener(broker, transport=transport, prefetch=10)
    listener.listen(10)
    for message in listener.messages[:4]:
        message.ack()
    listener.close()
    assert broker.unacknowledged() == []
    assert sorted(broker.waiting()) == list(range(4, 20))


@pytest.mark.parametrize("restorer", [STOCK, BULK])
@pytest.mark.parametrize("lost", [STOCK, BULK])
def test_what_a_lost_consumer_held_comes_again_after_the_visibility_timeout(
    broker: Broker, listen: Listen, lost: str, restorer: str
) -> None:
    for priority in (0, 6):
        broker.publish(range(priority, priority + 3), priority=priority)
    listen(transport=lost, prefetch=6).listen(6)
    survivor = listen(transport=restorer, on_message=acknowledge, visibility_timeout=0)
    survivor.channel.qos.restore_visible(num=100, interval=1)
    bodies = survivor.listen(6)
    assert sorted(bodies[:3]) == [0, 1, 2]
    assert sorted(bodies[3:]) == [6, 7, 8]
    assert all(message.headers["redelivered"] for message in survivor.messages)
    survivor.run_on()
    assert broker.unacknowledged() == []


@on_both
def test_a_broadcast_reaches_every_consumer(broker: Broker, transport: str) -> None:
    exchange = Exchange("news", type="fanout")
    connections = [broker.connection(transport) for _ in range(2)]
    heard: list[tuple[int, str]] = []
    for place, connection in enumerate(connections):
        queue = Queue(f"news-{place}", exchange, auto_delete=True)
        consumer = connection.Consumer(queue, no_ack=True)
        consumer.register_callback(lambda body, _, place=place: heard.append((place, body)))
        consumer.consume()
        connection.drain_events(timeout=5)  # the answer to its subscription
    with broker.connection(transport) as connection:
        connection.Producer().publish("extra!", exchange=exchange, declare=[exchange])
    for connection in connections:
        connection.drain_events(timeout=5)
        connection.release()
    assert sorted(heard) == [(0, "extra!"), (1, "extra!")]


@on_both
def test_a_consumer_that_never_acknowledges_leaves_nothing_behind(
    broker: Broker, listen: Listen, transport: str
) -> None:
    broker.publish(range(20))
    listener = listen(transport=transport, no_ack=True)
    assert listener.listen(20) == list(range(20))
    assert broker.unacknowledged() == []


@on_both
def test_a_consumer_without_a_loop_gets_one_message_at_a_time(
    broker: Broker, transport: str
) -> None:
    broker.publish(range(5))
    bodies = []

    def keep(body: int, message: Message) -> None:
        bodies.append(body)
        message.ack()
        assert broker.unacknowledged() == []

    with (
        broker.connection(transport) as connection,
        connection.Consumer([a_queue("a")], callbacks=[keep]),
    ):
        for number in range(5):
            connection.drain_events(timeout=5)
            assert bodies == list(range(number + 1))
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.2)


def test_every_key_begins_with_the_global_prefix(broker: Broker, listen: Listen) -> None:
    before = set(broker.redis.keys())
    broker.publish(range(5), "prefixed", transport=BULK)
    listen("prefixed", prefetch=3).listen(3)
    keys = {key.decode() for key in set(broker.redis.keys()) - before}
    assert broker.key("unacked") in keys
    assert all(key.startswith(broker.prefix) for key in keys)


# What bulk adds


def test_messages_move_many_at_a_time(broker: Broker, listen: Listen) -> None:
    broker.publish(range(1000))
    before = [broker.calls(command) for command in ("eval", "exec", "brpop")]
    listener = listen(prefetch=200, on_message=acknowledge)
    listener.listen(1000)
    listener.run_on()
    after = [broker.calls(command) for command in ("eval", "exec", "brpop")]
    assert broker.unacknowledged() == []
    assert sum(after) - sum(before) < 100


def test_taking_leaves_no_moment_in_which_a_message_is_nowhere(
    broker: Broker, listen: Listen
) -> None:
    """The server's own log of commands: no pop outside the script, but the one that wakes."""
    broker.publish(range(250))
    before = broker.calls("brpop")
    listener = listen(on_message=acknowledge)
    with broker.redis.monitor() as monitor:
        listener.listen(250)
        broker.redis.echo("the end")
        pops = []
        for entry in monitor.listen():
            if entry["command"] == "ECHO the end":
                break
            if entry["command"].startswith(("RPOP", "BRPOP")):
                pops.append(entry["client_type"])
    assert broker.calls("brpop") - before <= 1 + pops.count("tcp")
    assert pops.count("lua") >= 250
    assert pops.count("tcp") <= 2


def test_a_channel_keeps_its_client(broker: Broker) -> None:
    with broker.connection() as connection:
        channel = connection.channel()
        with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
            assert first is second


def test_a_forked_child_has_a_client_of_its_own(broker: Broker) -> None:
    def report(channel: Any) -> None:
        with channel.conn_or_acquire() as client:
            client.lpush("clients", client.client_id())

    with broker.connection() as connection:
        channel = connection.channel()
        report(channel)
        child = billiard.Process(target=report, args=(channel,))
        child.start()
        child.join()
        report(channel)
    childs, *ours = (
        broker.redis.lrange(broker.key("clients"), 1, 1),
        *broker.redis.lrange(broker.key("clients"), 0, 0),
    )
    assert childs != ours


def test_acknowledgements_that_gather_are_sent_on_closing(broker: Broker) -> None:
    broker.publish(range(10))
    listener = Listener(broker, prefetch=10)
    listener.listen(10)
    listener.ack_all()
    assert broker.unacknowledged() == list(range(10))
    listener.close()
    assert (broker.waiting(), broker.unacknowledged()) == ([], [])


def test_acknowledgements_are_sent_at_once_by_a_consumer_that_stops(
    broker: Broker, listen: Listen
) -> None:
    broker.publish(range(3))
    listener = listen(prefetch=3)
    listener.listen(3)
    listener.consumer.cancel()
    listener.ack_all()
    assert broker.unacknowledged() == []


def test_what_closing_puts_back_keeps_its_order(broker: Broker) -> None:
    broker.publish(range(20))
    listener = Listener(broker, prefetch=10)
    listener.listen(10)
    listener.close()
    assert broker.waiting() == list(range(20))


def test_what_was_taken_and_finds_no_consumer_goes_back(broker: Broker, listen: Listen) -> None:
    def cancel(_: Message) -> None:
        listener.consumer.cancel()

    broker.publish(range(20))
    listener = listen(on_message=cancel)
    listener.listen(1)
    listener.run_on()
    assert listener.bodies == [0]
    assert broker.unacknowledged() == [0]
    assert sorted(broker.waiting()) == list(range(1, 20))


def test_what_was_taken_when_a_consumer_failed_is_put_back_on_closing(broker: Broker) -> None:
    def fail(_: Message) -> None:
        raise RuntimeError("the consumer's own")

    broker.publish(range(20))
    listener = Listener(broker, prefetch=10, on_message=fail)
    with pytest.raises(RuntimeError):
        listener.listen(1)
    assert broker.unacknowledged() == list(range(10))
    listener.close()
    assert broker.waiting() == list(range(20))


def test_the_loop_turns_while_messages_are_delivered(
    broker: Broker, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(_: Message) -> None:
        end = bulk.monotonic() + 2 * bulk.TURN
        while bulk.monotonic() < end:
            pass

    broker.publish(range(10))
    listener = listen(on_message=slow)
    listener.listen(1)
    heard = [len(listener.messages)]
    listener.hub.on_tick.add(lambda: heard.append(len(listener.messages)))  # type: ignore[attr-defined]
    listener.listen(10)
    assert set(heard) >= set(range(1, 10))


def test_what_is_no_message_is_dropped_and_the_others_arrive(
    broker: Broker, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    broker.publish(["before"])
    broker.redis.lpush(broker.key("a"), "garbage", '{"body": 1}', b"\xff")
    broker.publish(["after"])
    listener = listen(on_message=acknowledge)
    assert listener.listen(2) == ["before", "after"]
    listener.run_on()
    assert broker.unacknowledged() == []
    assert [record.args[1] for record in caplog.records if record.args] == [  # type: ignore[index]
        b"garbage",
        b'{"body": 1}',
        b"\xff",
    ]


def test_a_limit_that_celery_puts_in_place_of_the_prefetch_count_holds(
    broker: Broker, listen: Listen
) -> None:
    """As its setting worker_disable_prefetch does."""
    broker.publish(range(10))
    listener = listen()
    listener.channel.qos.can_consume = MethodType(
        lambda _: len(listener.messages) < 3, listener.channel.qos
    )
    listener.listen(3)
    listener.run_on()
    assert listener.bodies == [0, 1, 2]
    assert broker.unacknowledged() == [0, 1, 2]


def test_a_crowd_of_due_timers_does_not_wait_for_messages(broker: Broker, listen: Listen) -> None:
    listener = listen()
    listener.run_on()
    fired: list[int] = []
    before = broker.calls("brpop")
    for number in range(500):
        listener.hub.call_later(0, fired.append, number)
    listener.run_until(lambda: len(fired) == 500)
    # Ten timers for each wait on the broker would make it fifty.
    assert broker.calls("brpop") - before < 25
