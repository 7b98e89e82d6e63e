"""Whose turn it is at endpoints that have a rate: kept in Redis, for all workers together.

Those who may be sent within `patience` get a turn, which they then keep to. All others form a line:
each gets a time to come again, one after the other. Who comes again has waited, and goes before
whoever has not; who has not waited goes behind the line while there is one, unless the line leaves
its turns unused. So each waits its time once, however many there are, nobody overtakes who comes in
time, and no turn is lost while somebody is there. Without Redis all may go at once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from deliveries.pace import Pace
from subscriptions.quick_redis import QuickRedis

SENDING, RELEASING = "sending", "releasing"
"""What turns are for; each has clocks of its own."""

TAKE = """
local patience = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local answers = {}
for i, key in ipairs(KEYS) do
    local interval, tolerance = tonumber(ARGV[4 * i - 2]), tonumber(ARGV[4 * i - 1])
    local count, waited = tonumber(ARGV[4 * i]), ARGV[4 * i + 1] == '1'
    local known = redis.call('HMGET', key, 'clock', 'line')
    local stood = tonumber(known[1]) or 0
    local clock = math.max(now, stood)
    local line = math.max(now, tonumber(known[2]) or 0)
    local ahead = clock - now
    local room = patience + tolerance - ahead
    if line > now and not waited then
        local spare = tolerance - math.max(tolerance / 2, interval)
        room = spare - math.max(stood - now, math.min(0, spare))
    end
    local turns = math.max(0, math.min(count, math.floor(room / interval) + 1))
    if turns > 0 then
        clock = clock + turns * interval
        stood = clock
    end
    local start = math.max(line, clock - tolerance)
    if count > turns then
        line = start + (count - turns) * interval
    end
    redis.call('HSET', key, 'clock', stood, 'line', line)
    redis.call('PEXPIRE', key, math.ceil((math.max(clock, line) - now) * 1000) + 1000)
    answers[i] = {turns, tostring(ahead), tostring(start - now)}
end
return answers
"""
"""ARGV: the patience, then for each key interval, tolerance, count, and whether these have waited.

Who has not waited has turns beside a line once it has left half a burst unused, or one whole turn
where that is more; that much is kept for who comes again late. So a clock that stands still is in
the past, by as much as was left.

Returns for each how many have a turn, how far the clock was ahead, and after how many seconds the
first of the others may come again.
"""


@dataclass(frozen=True, slots=True)
class Waiter:
    """A delivery that wants to go to its endpoint, at that one's pace if it has one."""

    delivery: UUID
    endpoint: UUID
    pace: Pace | None
    waited: bool = False
    """Whether it comes again."""


@dataclass(frozen=True, slots=True)
class Ask:
    """So many want to go to one endpoint."""

    endpoint: UUID
    pace: Pace
    count: int
    waited: bool = False
    """Whether they come again."""


@dataclass(frozen=True, slots=True)
class Turns:
    """The answer. Times are in seconds from now."""

    first: float
    """When the first has its turn; below 0 where it could have had it before."""
    go: list[float]
    """How long each of those that have a turn waits for it."""
    come_again: list[float]
    """When each of the others comes again."""


class Turnstiles(QuickRedis):
    """The clocks of all endpoints' paces, in one Redis."""

    without = "no endpoint's rate is kept."

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._take = self.client.register_script(TAKE)

    def take(self, purpose: str, asks: Sequence[Ask], *, patience: float) -> list[Turns] | None:
        """The turns for each ask, in their order; None while Redis does not answer."""
        if not asks:
            return []
        keys = [f"angarium:turn:{purpose}:{ask.endpoint.hex}" for ask in asks]
        arguments: list[float] = [patience]
        for ask in asks:
            arguments += [ask.pace.interval, ask.pace.tolerance, ask.count, int(ask.waited)]
        answers = self.ask(lambda: self._take(keys=keys, args=arguments))
        if answers is None:
            return None
        return [
            Turns(
                first=float(ahead) - ask.pace.tolerance,
                go=ask.pace.waits(float(ahead), turns),
                come_again=[
                    float(start) + place * ask.pace.interval for place in range(ask.count - turns)
                ],
            )
            for ask, (turns, ahead, start) in zip(asks, answers, strict=True)
        ]


def take(purpose: str, asks: Sequence[Ask], *, patience: float) -> list[Turns] | None:
    """The turns for each ask, in their order; None while Redis does not answer."""
    return Turnstiles.here().take(purpose, asks, patience=patience)


def waits(purpose: str, waiters: Iterable[Waiter], *, patience: float) -> dict[UUID, float]:
    """How long each delivery has to wait: up to `patience` for its turn, or until it comes again.

    The first come first. While Redis does not answer nobody waits.
    """
    waits: dict[UUID, float] = {}
    alike: dict[tuple[UUID, Pace, bool], list[UUID]] = {}
    for one in waiters:
        waits[one.delivery] = 0.0
        if one.pace is not None:
            alike.setdefault((one.endpoint, one.pace, one.waited), []).append(one.delivery)
    # Those who have waited go first.
    groups = sorted(alike.items(), key=lambda group: not group[0][2])
    asks = [
        Ask(endpoint, pace, len(deliveries), waited)
        for (endpoint, pace, waited), deliveries in groups
    ]
    given = take(purpose, asks, patience=patience) or ()
    for (_, deliveries), theirs in zip(groups, given, strict=False):
        waits.update(zip(deliveries, [*theirs.go, *theirs.come_again], strict=True))
    return waits
