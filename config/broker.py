"""The broker's transport: kombu's own for Redis 6.2+ and Valkey, but in bulk.

kombu receives each message in one round trip, saves it as unacknowledged in a second and
acknowledges it in a third, each over a client built for that one command. Here a channel keeps its
client, and the messages of a worker move many at a time:

- A script takes as many messages as the worker may prefetch, and saves them as unacknowledged, in
  one atomic step. Once it finds the queues empty, kombu's BRPOP waits for the next message, which
  the script then puts back and takes with whatever has come since.
- The event loop delivers what was taken, and gets to its other work in between.
- Acknowledgements gather for a moment and are sent together. One lost in a crash means that its
  message comes again, as any unacknowledged one does.

What is saved has kombu's format, with a tag of ours and the queue that it came from, so that stock
and bulk workers restore each other's messages. All else is kombu's: publishing, priorities, fanout,
rejecting, restoring, reconnecting. A consumer without an event loop gets its messages one by one,
and one without acknowledgements gets them kombu's way.

Celery's setting `broker_transport = "config.broker:BulkTransport"` chooses this transport for one
Redis, and `BulkSentinelTransport` for the primary that Sentinels name (see broker_url.py); there is
nothing to undo to go back.
"""

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from queue import Empty
from time import monotonic, time
from typing import Any, NamedTuple

from kombu.transport import redis, virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps, loads
from kombu.utils.scheduling import round_robin_cycle
from kombu.utils.uuid import uuid

logger = logging.getLogger(__name__)

# Its stubs leave out most of what a transport is made of.
stock: Any = redis

TAKE_MAX = 100
"""Messages in one take: the server serves nobody else meanwhile, for less than a millisecond."""

ACK_BATCH = 100
"""Acknowledgements in one transaction, for the same reason."""

ACK_DELAY = 0.01
"""Seconds that an acknowledgement waits for others; a crash within them repeats a message."""

PATIENCE = 2.0
"""Seconds that Redis has to answer: while it says nothing, the event loop stands still.

After that it counts as lost, and the worker's pool sees to what it has in flight. What waits for
messages reads once there is something to read, and BRPOP waits for one second.
"""

TURN = 0.005
"""Seconds of delivering after which the event loop gets to its sockets and timers."""

TAKE = """
local unacked, unacked_index, popped_from = KEYS[1], KEYS[2], KEYS[3]
local tag, now, popped = ARGV[1], ARGV[2], ARGV[5]
local limit, share, queues = tonumber(ARGV[3]), tonumber(ARGV[4]), #ARGV - 5

if popped ~= '' then redis.call('RPUSH', popped_from, popped) end

local taken, saved, indexed = {}, {}, {}
local function take(list, queue)
    local room = math.min(share, limit - #taken / 2)
    local messages = room > 0 and redis.call('RPOP', list, room) or {}
    for _, message in ipairs(messages) do
        local ours = tag .. #taken / 2
        table.insert(saved, ours)
        table.insert(saved, '[' .. message .. ', "", ' .. ARGV[5 + queue] .. ']')
        table.insert(indexed, now)
        table.insert(indexed, ours)
        table.insert(taken, queue - 1)
        table.insert(taken, message)
    end
    return #messages > 0
end

for level = 4, #KEYS, math.max(queues, 1) do
    local more = true
    while more do
        more = false
        for queue = 1, queues do
            more = take(KEYS[level + queue - 1], queue) or more
        end
    end
end

if #taken > 0 then
    redis.call('HSET', unacked, unpack(saved))
    redis.call('ZADD', unacked_index, unpack(indexed))
end
return taken
"""
"""Takes up to `limit` messages, the first priority's first, `share` of each queue in turn.

KEYS: the unacked hash, its index, the list that BRPOP popped from, then the list of each queue,
priority by priority. ARGV: the beginning of the tags, the time, `limit`, `share`, what BRPOP popped
or '', then the names of the queues as JSON. Returns a queue's number and a message's text for each.
"""


class Take(NamedTuple):
    tag: str
    queues: list[str]
    limit: int

    def tags(self, number: int) -> list[str]:
        return [f"{self.tag}{position}" for position in range(number)]


class BulkQoS(stock.QoS):  # type: ignore[misc]
    """Knows a message that is taken, but not delivered yet, by its tag without a message."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._acked: list[str] = []

    def expect(self, delivery_tags: list[str]) -> None:
        """Count what was taken, so that it is restored if it is never delivered."""
        self._delivered.update(dict.fromkeys(delivery_tags))

    def expects(self, delivery_tag: str) -> bool:
        return self._delivered.get(delivery_tag, self) is None

    def append(self, message: Any, delivery_tag: str) -> None:
        if self.expects(delivery_tag):
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def put_back(self, delivery_tag: str) -> None:
        self.restore_by_tag(delivery_tag)
        del self._delivered[delivery_tag]

    def ack(self, delivery_tag: str) -> None:
        virtual.QoS.ack(self, delivery_tag)
        if self.channel.closed:
            return  # with its connection; the message comes again
        self._acked.append(delivery_tag)
        loop = self.channel.loop
        if loop is None or len(self._acked) >= ACK_BATCH:
            self.flush_acks()
        elif len(self._acked) == 1:
            loop.call_later(ACK_DELAY, self.flush_acks)

    def flush_acks(self) -> None:
        """Send the acknowledgements that have gathered; where that fails, they stay."""
        tags, self._acked = self._acked, []
        if not tags:
            return
        try:
            with self.pipe_or_acquire() as pipe:
                pipe.zrem(self.unacked_index_key, *tags).hdel(self.unacked_key, *tags).execute()
        except BaseException:
            self._acked[:0] = tags
            raise

    def restore_unacked(self, client: Any = None) -> None:
        self._flush()
        # The last goes first, so that the first is the next to be taken again.
        for tag in reversed(self._delivered):
            self.restore_by_tag(tag, client)
        self._delivered.clear()

    def restore_unacked_once(self, stderr: Any = None) -> None:
        self.flush_acks()
        super().restore_unacked_once(stderr)


class BulkChannel(stock.Channel):  # type: ignore[misc]
    QoS = BulkQoS

    def __init__(self, *args: Any, **options: Any) -> None:
        self._take: Take | None = None
        self._more = False
        self.inbox: deque[tuple[str, str, bytes]] = deque()
        """The tag, queue and text of each message that is taken and not delivered yet."""
        super().__init__(*args, **options)
        self._in_bulk = self.ack_emulation

    @property
    def loop(self) -> Any:
        """The event loop that consumes from this channel, or None."""
        return self.connection.loop if self._consumers and self.connection else None

    # One client

    @cached_property
    def _commands(self) -> Any:
        # A forked child inherits it, but its pool opens connections of the child's own.
        return self._create_client()

    def _connparams(self, asynchronous: bool = False) -> Any:
        parameters = super()._connparams(asynchronous)
        # No retry is set: kombu publishes in batches only where none is, which tries nothing again.
        parameters["socket_timeout"] = parameters["socket_timeout"] or PATIENCE
        return parameters

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        yield client or self._commands

    # Taking

    def basic_consume(self, queue: str, no_ack: bool = False, *args: Any, **options: Any) -> Any:
        # What nobody acknowledges must not be saved as unacknowledged.
        self._in_bulk = self._in_bulk and not no_ack
        return super().basic_consume(queue, no_ack, *args, **options)

    def _brpop_start(self, timeout: float | None = None) -> None:
        self._take = None
        if self._in_bulk and self._more:
            self._in_poll = self.client.connection
            self._brpop_sent_at = monotonic()
            self._take = self._send_take()
        else:
            super()._brpop_start(timeout)

    def _brpop_read(self, **options: Any) -> bool:
        if not self._in_bulk and self._take is None:
            return bool(super()._brpop_read(**options))
        client = self.client
        popped: Any = None
        try:
            if self._take is None:
                popped = client.parse_response(client.connection, "BRPOP", **options)
                if not popped:
                    raise Empty
                self._take = self._send_take(*popped)
            answer = client.parse_response(client.connection, "EVAL", **options)
            self._accept(self._take, answer)
        except self.connection_errors:
            if self._take is not None:
                # Perhaps it was taken, and only the answer was lost: closing restores it.
                self.qos.expect(self._take.tags(self._take.limit))
            client.connection.disconnect()
            if popped:
                # Perhaps it was never put back: better that it comes twice than not at all.
                queue, text = popped
                with suppress(self.connection_errors):
                    self._commands.rpush(bytes_to_str(queue), text)
            raise
        finally:
            self._take = None
            self._in_poll = None
            self._flush_brpop_reauth()
        self.deliver()
        return True

    def _accept(self, take: Take, answer: list[Any]) -> None:
        """What the script answers is ours to deliver."""
        self._more = len(answer) == 2 * take.limit
        if not answer:
            raise Empty
        tags = take.tags(len(answer) // 2)
        queues = [take.queues[number] for number in answer[::2]]
        self.qos.expect(tags)
        self.inbox.extend(zip(tags, queues, answer[1::2], strict=True))
        for queue in queues:
            self._queue_cycle.rotate(queue)

    def _send_take(self, popped_from: bytes = b"", popped: bytes = b"") -> Take:
        queues = list(self._queue_cycle.consume(len(self.active_queues)))
        take = Take(f"{uuid()}:", queues, self._room())
        share = 1 if type(self._queue_cycle) is round_robin_cycle else TAKE_MAX
        lists = [self._q_for_pri(queue, step) for step in self.priority_steps for queue in queues]
        keys = [self.unacked_key, self.unacked_index_key, bytes_to_str(popped_from), *lists]
        self.client.connection.send_command(
            *("EVAL", TAKE, len(keys), *(self.global_keyprefix + key for key in keys)),
            *(take.tag, time(), take.limit, share, popped, *map(dumps, queues)),
        )
        return take

    def _room(self) -> int:
        # Celery's worker_disable_prefetch puts a count of its own in the place of this method.
        if self.loop is None or "can_consume" in vars(self.qos):
            return 1
        room = self.qos.can_consume_max_estimate()
        return TAKE_MAX if room is None else min(room, TAKE_MAX)

    # Delivering

    def deliver(self) -> None:
        """Deliver from the inbox, for one turn of the event loop."""
        end = monotonic() + TURN
        while self.inbox and not self._closing and monotonic() < end:
            self._deliver(*self.inbox.popleft())

    def _deliver(self, tag: str, queue: str, text: bytes) -> None:
        if not self.qos.expects(tag):
            return
        if queue not in self.connection._callbacks:
            self.qos.put_back(tag)
            return
        try:
            payload = loads(bytes_to_str(text))
            payload["properties"]["delivery_tag"] = tag
            self.connection._deliver(payload, queue)
        except Exception:
            if not self.qos.expects(tag):
                raise
            logger.critical("Dropped from %s what is no message: %r", queue, text, exc_info=True)
            self.qos.reject(tag)


class BulkTransport(stock.Transport):  # type: ignore[misc]
    Channel = BulkChannel

    loop: Any = None
    """The event loop (kombu's Hub) that the consumers run in, or None."""

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        super().register_with_event_loop(connection, loop)
        self.loop = loop
        loop.on_tick.add(self._on_tick)

    def close_connection(self, connection: Any) -> None:
        if self.loop is not None:
            self.loop.on_tick.discard(self._on_tick)
        super().close_connection(connection)

    def _on_tick(self) -> None:
        channels = list(self.channels)
        for channel in channels:
            channel.deliver()
        # After ten timers the loop sleeps, up to a second, though more of them are due, or have
        # left callbacks: many countdowns at once would end in ten tasks a second.
        timers = self.loop.timer._queue
        overdue = timers and timers[0].eta <= monotonic()
        if overdue or self.loop._ready or any(channel.inbox for channel in channels):
            self.loop._waker.wake()


class BulkSentinelChannel(BulkChannel, stock.SentinelChannel):  # type: ignore[misc]
    """Whatever connection it opens leads to the primary, as the Sentinels have it just then.

    The transport option `sentinels` has the host and port of each. kombu takes them from a list of
    URLs, among which it goes round when a connection is lost, and to the transport that their
    scheme stands for.
    """

    from_transport_options = (*stock.SentinelChannel.from_transport_options, "sentinels")

    def _sentinel_managed_pool(self, asynchronous: bool = False) -> Any:
        options = self._connparams(asynchronous)
        del options["host"], options["port"]
        manager = stock.sentinel.Sentinel(
            self.sentinels, sentinel_kwargs=self.sentinel_kwargs, **options
        )
        # kombu closes what it finds by these names.
        if asynchronous:
            self._async_sentinel_manager = manager
        else:
            self._sentinel_manager = manager
        return manager.master_for(self.master_name).connection_pool


class BulkSentinelTransport(BulkTransport):
    default_port = stock.SentinelTransport.default_port
    Channel = BulkSentinelChannel
