"""How many requests a key may make: a token bucket for each key, in Redis, for all web processes.

While Redis does not answer nobody is refused, and hardly anybody waits.
"""

from dataclasses import dataclass
from typing import Any

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from subscriptions.conf import SubscriptionSettings, part
from subscriptions.models import ApiKey
from subscriptions.quick_redis import QuickRedis
from subscriptions.rates import Rate

TAKE = """
local quota, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(bucket[1]) or quota, tonumber(bucket[2]) or now
tokens = math.min(quota, tokens + math.max(0, now - at) * quota / window)

local wait = 0
if tokens >= 1 then
    tokens = tokens - 1
    redis.call('HSET', KEYS[1], 'tokens', tokens, 'at', now)
    redis.call('PEXPIRE', KEYS[1], math.ceil((quota - tokens) * window / quota * 1000))
else
    wait = math.max(1, math.ceil((1 - tokens) * window / quota))
end
return {wait, math.floor(tokens), math.ceil((quota - tokens) * window / quota)}
"""
"""Takes a token out of the bucket KEYS[1], if there is one; a bucket that is full is no key at all.

ARGV: how many tokens it holds, and how many seconds it takes to fill. Returns the seconds to wait
for a token (0: one was taken), the tokens left, and the seconds until the bucket is full.
"""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a rate. Times are in seconds."""

    rate: Rate
    wait: int
    remaining: int
    full_in: int

    def headers(self) -> dict[str, str]:
        """For the response (draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4)."""
        return {
            "RateLimit-Policy": f'"key";q={self.rate.quota};w={self.rate.window}',
            "RateLimit": f'"key";r={self.remaining};t={self.full_in}',
        }


class Buckets(QuickRedis):
    """The token buckets in one Redis."""

    without = "nobody's rate is counted there."

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._take = self.client.register_script(TAKE)

    def take(self, name: str, rate: Rate) -> Allowance | None:
        """Take a token for one request; None while Redis does not answer."""
        keys, arguments = [_key(name)], [rate.quota, rate.window]
        answer = self.ask(lambda: self._take(keys=keys, args=arguments))
        return None if answer is None else Allowance(rate, *answer)

    def fill(self, name: str) -> None:
        """Put all that was taken back."""
        self.ask(lambda: self.client.delete(_key(name)))


def _key(name: str) -> str:
    return f"angarium:rate:{name}"


class KeyThrottle(BaseThrottle):
    """Holds each API key to its own rate, or to API_RATE."""

    allowance: Allowance | None = None

    def allow_request(self, request: Request, view: Any) -> bool:
        settings = part(SubscriptionSettings)
        key = request.auth
        if isinstance(key, ApiKey) and (rate := key.rate or settings.api_rate):
            self.allowance = Buckets.here().take(key.prefix, Rate.parse(rate))
        return self.allowance is None or self.allowance.wait == 0

    def wait(self) -> float | None:
        return None if self.allowance is None else self.allowance.wait

    def headers(self) -> dict[str, str]:
        return {} if self.allowance is None else self.allowance.headers()
