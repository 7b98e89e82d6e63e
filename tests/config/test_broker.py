"""The bulk transport keeps what kombu's own promises, beside it and in its place."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from types import MethodType
from typing import Any
from uuid import uuid4

import billiard
import pytest
from django.conf import settings
from kombu import Exchange, Queue
from kombu.message import Message

from config.broker import TURN
from tests.config import noting
from tests.config.consuming import BULK, STOCK, Broker, Listener, a_queue, acknowledge, address
from tests.processes import Process, wait_until

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
        sender: Any = connection.Producer()
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
    listener = listen(
        *queues,
        transport=transport,
        queue_order_strategy=strategy,
        prefetch=15,
        on_message=acknowledge,
    )
    assert listener.listen(40) == [queue for queue in queues for _ in range(20)]


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


@on_both
def test_recovering_brings_back_what_is_not_acknowledged(
    broker: Broker, listen: Listen, transport: str
) -> None:
    broker.publish(range(4))
    listener = listen(transport=transport, prefetch=4)
    listener.listen(4)
    for message in listener.messages[:2]:
        message.ack()
    listener.consumer.recover(requeue=True)
    listener.listen(6)
    listener.run_on()
    assert sorted(listener.bodies[4:]) == [2, 3]


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

    def hear(place: int, body: str, _: Message) -> None:
        heard.append((place, body))

    for place, connection in enumerate(connections):
        queue = Queue(f"news-{place}", exchange, auto_delete=True)
        consumer = connection.Consumer(queue, no_ack=True)
        consumer.register_callback(partial(hear, place))
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
    assert sum(after) - sum(before) < 300


def test_only_the_message_that_wakes_a_consumer_is_popped_outside_the_script(
    broker: Broker, listen: Listen
) -> None:
    broker.publish(range(250))
    listener = listen(on_message=acknowledge)
    pops = Counter[str]()
    with broker.redis.monitor() as monitor:
        listener.listen(250)
        broker.redis.echo(broker.key("the end"))
        for entry in monitor.listen():
            command, *arguments = entry["command"].split()
            if command == "ECHO":
                break
            if "POP" in command and arguments[0].startswith(broker.prefix):
                pops[f"{command} by {entry['client_type']}"] += 1
    assert pops["RPOP by lua"] >= 250
    assert pops["BRPOP by tcp"] <= 2
    assert set(pops) <= {"RPOP by lua", "BRPOP by tcp"}


def test_a_channel_keeps_its_client(broker: Broker) -> None:
    with broker.connection() as connection:
        channel: Any = connection.channel()
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
    again, childs, first = broker.redis.lrange(broker.key("clients"), 0, -1)
    assert again == first
    assert childs != first


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


def test_what_was_taken_when_the_answer_got_lost_is_put_back_on_closing(broker: Broker) -> None:
    broker.publish(range(300))
    listener = Listener(broker)
    start = listener.channel._brpop_start

    def start_and_lose() -> None:
        held = len(broker.unacknowledged())
        start()
        if held:
            wait_until(lambda: len(broker.unacknowledged()) > held, "the server to answer")
            broker.redis.client_kill_filter(_type="normal", skipme=True)
            while listener.channel.client.connection._sock.recv(4096):
                pass

    listener.channel._brpop_start = start_and_lose
    with pytest.raises(listener.connection.connection_errors):
        listener.listen(300)
    listener.close()
    assert broker.unacknowledged() == []
    assert broker.waiting() == list(range(300))


def test_what_was_popped_when_the_connection_got_lost_is_put_back(broker: Broker) -> None:
    listener = Listener(broker, polling_interval=30)
    listener.run_on()
    broker.publish([0])
    wait_until(lambda: broker.waiting() == [], "the server to hand it out")
    broker.redis.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(listener.connection.connection_errors):
        listener.listen(1)
    listener.close()
    assert (broker.waiting(), broker.unacknowledged()) == ([0], [])


def test_a_closed_connection_leaves_the_loop(broker: Broker) -> None:
    listener = Listener(broker)
    transport = listener.connection.transport
    owners = [getattr(callback, "__self__", None) for callback in listener.hub.on_tick]
    assert transport in owners
    listener.close()
    owners = [getattr(callback, "__self__", None) for callback in listener.hub.on_tick]
    assert transport not in owners


def test_the_loop_turns_while_messages_are_delivered(broker: Broker, listen: Listen) -> None:
    seen: set[int] = set()

    def look_around(_: Message) -> None:
        listener.hub.call_soon(lambda: seen.add(len(listener.messages)))
        time.sleep(2 * TURN)

    broker.publish(range(10))
    listener = listen(on_message=look_around)
    listener.listen(10)
    listener.run_on()
    assert seen == set(range(1, 11))


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


# In a worker


@dataclass
class Noting:
    """The application in tests/config/noting.py: its queue, its worker, and what that one noted."""

    broker: Broker
    directory: Path

    @contextmanager
    def worker(self, pool: str) -> Iterator[Process]:
        process = Process(
            self.directory / "worker.log",
            *("celery", "-A", "tests.config.noting", "worker", "--pool", pool),
            *("--concurrency", "2", "--loglevel", "INFO", "--without-gossip", "--without-mingle"),
            environment={"NOTES": str(self.notes)},
        )
        try:
            process.wait_until_it_says(" ready.")
            yield process
        finally:
            process.stop()

    def send(self, count: int, countdown: float = 0) -> None:
        """Send a task for each number below `count`; every second one has the countdown."""
        with noting.app.connection_for_write() as connection:
            producer: Any = noting.app.amqp.Producer(connection)
            with producer.batch():
                for number in range(count):
                    options: dict[str, Any] = {"countdown": countdown} if number % 2 else {}
                    noting.note.apply_async((number,), producer=producer, **options)

    @property
    def notes(self) -> Path:
        return self.directory / "notes"

    def noted(self) -> list[int]:
        """The numbers of the tasks that ran."""
        return [int(line) for line in self.notes.read_text().splitlines()]

    def waiting(self) -> list[int]:
        return [arguments[0] for arguments, *_ in self.broker.waiting(noting.QUEUE)]

    def unacknowledged(self) -> list[int]:
        return [arguments[0] for arguments, *_ in self.broker.unacknowledged()]

    def wait_until_in_mid_run(self) -> None:
        wait_until(lambda: len(self.noted()) > 100, "the run to begin")


@pytest.fixture
def noting_app(tmp_path: Path) -> Iterator[Noting]:
    broker = Broker(settings.REDIS_URL, noting.PREFIX)
    broker.clear()
    (tmp_path / "notes").touch()
    yield Noting(broker, tmp_path)
    broker.clear()


@pytest.mark.parametrize("pool", ["solo", "prefork"])
def test_a_worker_runs_every_task_once_those_with_a_countdown_too(
    noting_app: Noting, pool: str
) -> None:
    with noting_app.worker(pool):
        noting_app.send(1000, countdown=1)
        wait_until(lambda: len(noting_app.noted()) >= 1000, "every task")
        assert noting.app.control.ping(limit=1)
    assert sorted(noting_app.noted()) == list(range(1000))
    assert (noting_app.waiting(), noting_app.unacknowledged()) == ([], [])


def test_a_worker_that_stops_in_mid_run_loses_and_doubles_nothing(noting_app: Noting) -> None:
    noting_app.send(2000)
    with noting_app.worker("solo"):
        noting_app.wait_until_in_mid_run()
    left = noting_app.waiting()
    assert left
    assert noting_app.unacknowledged() == []
    assert sorted(noting_app.noted() + left) == list(range(2000))


@pytest.mark.parametrize("pool", ["solo", "prefork"])
def test_a_worker_killed_in_mid_run_loses_nothing(noting_app: Noting, pool: str) -> None:
    noting_app.send(2000)
    with noting_app.worker(pool) as victim:
        noting_app.wait_until_in_mid_run()
        victim.kill()
    left = noting_app.waiting() + noting_app.unacknowledged()
    assert len(left) == len(set(left))
    assert {*noting_app.noted(), *left} == set(range(2000))


def test_a_worker_that_loses_its_connections_in_mid_run_goes_on(noting_app: Noting) -> None:
    noting_app.send(2000)
    with noting_app.worker("solo") as process:
        noting_app.wait_until_in_mid_run()
        noting_app.broker.redis.client_kill_filter(_type="normal", skipme=True)
        process.wait_until_it_says("Connection to broker lost")
        wait_until(lambda: set(noting_app.noted()) == set(range(2000)), "every task")
    assert (noting_app.waiting(), noting_app.unacknowledged()) == ([], [])
