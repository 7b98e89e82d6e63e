"""Celery's settings for the broker that BROKER_URL names: Redis, alone or watched by Sentinels, or
RabbitMQ."""

from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured

from subscriptions import amqp_address
from subscriptions.amqp_address import AmqpAddress
from subscriptions.redis_address import SCHEMES, RedisAddress
from subscriptions.server_url import InvalidServerUrl

SENTINEL_PATIENCE = 0.3
"""Seconds that a Sentinel has to connect, and as many to answer, before the next one is asked."""

IN_BULK = "config.broker:BulkTransport"
FROM_SENTINELS = "config.broker:BulkSentinelTransport"

# Topics, since RabbitMQ brings a message that waits back to its queue by the end of its topic.
QUORUM = {
    "exchange": "angarium",
    "exchange_type": "topic",
    "queue_arguments": {"x-queue-type": "quorum"},
}


class Broker(NamedTuple):
    """Values of Celery's settings broker_url, broker_transport and so on."""

    url: str
    transport: str | None = None
    use_ssl: Any = False
    transport_options: dict[str, Any] = {}
    queue_options: dict[str, Any] = {}
    """Of each queue in task_queues."""


def broker_at(url: str, lane: str, transport: str = "") -> Broker:
    """The settings for a broker; `transport` takes the place of the courier's own.

    Raises ImproperlyConfigured, with what to change.
    """
    try:
        return _broker_at(url, lane, transport)
    except InvalidServerUrl as error:
        raise ImproperlyConfigured(f"BROKER_URL, or REDIS_URL: {error}") from error


def _broker_at(url: str, lane: str, transport: str) -> Broker:
    scheme = url.partition("://")[0]
    if scheme in amqp_address.SCHEMES:
        if lane == "courier":
            raise ImproperlyConfigured(
                "Set LANE=plain, or BROKER_URL to a Redis: the courier cannot use RabbitMQ, as it"
                " takes and acknowledges its messages many at a time."
            )
        rabbit = AmqpAddress.parse(url)
        return Broker(rabbit.url, use_ssl=rabbit.tls, queue_options=QUORUM)
    if scheme not in SCHEMES:
        known = ", ".join([*SCHEMES, *amqp_address.SCHEMES])
        raise ImproperlyConfigured(f"Begin BROKER_URL with one of {known}, and then ://.")
    address = RedisAddress.parse(url)
    # Longer than any countdown, or Redis would hand a waiting retry to a second worker.
    options: dict[str, Any] = {"visibility_timeout": 3600}
    use_ssl = dict(address.tls) or False
    if address.master:
        options |= {
            "sentinels": address.nodes,
            "master_name": address.master,
            "sentinel_kwargs": address.options_of_sentinels(SENTINEL_PATIENCE),
        }
        return Broker(_first_sentinel(url), FROM_SENTINELS, use_ssl, options)
    chosen = (transport or IN_BULK) if lane == "courier" else None
    return Broker(url.partition("?")[0], chosen, use_ssl, options)


def _first_sentinel(url: str) -> str:
    """What kombu needs a URL for besides: the login and the database. The transport knows them all.

    With a list of URLs kombu would go round among them, and to its own transport.
    """
    _, _, rest = url.partition("?")[0].partition("://")
    hosts, slash, database = rest.partition("/")
    login, at, nodes = hosts.rpartition("@")
    return f"sentinel://{login}{at}{nodes.partition(',')[0]}{slash}{database}"
