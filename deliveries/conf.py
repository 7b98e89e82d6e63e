"""The part of the ANGARIUM settings that concerns events and deliveries. Times are in seconds."""

from dataclasses import dataclass, field

from webhooks.sending.outcome import Limits

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@dataclass(frozen=True)
class DeliverySettings:
    """How events are taken in, sent, tried again and forgotten."""

    max_payload_bytes: int = 256 * 1024
    """The largest `data` of an event, as UTF-8 JSON."""
    fan_out_inline_limit: int = 100
    """Up to so many deliveries are made inside emit(); more are left to the fan_out task."""
    fan_out_chunk: int = 1000
    """How many deliveries the fan_out task makes in one transaction."""

    public_url: str = ""
    """Where receivers reach the API, as in https://webhooks.example.com, for links to events."""
    event_source: str = "angarium"
    """Which application events come from: a URI reference, the `source` of CloudEvents."""

    user_agent: str = "Angarium/0.1"
    ca_bundle: str = ""
    """A PEM file of the certificates to trust; certifi's, if empty."""
    connect_timeout: float = 5.0
    """For one connection, TLS included."""
    timeout: float = 15.0
    """For one attempt from the name's look-up to the end of the response."""
    lease_margin: float = 15.0
    """How much longer than `timeout` a worker may hold a delivery before it counts as lost."""

    # Standard Webhooks, "Retry schedule": the first attempt at once, then after these waits.
    retry_schedule: tuple[float, ...] = (
        5.0,
        5 * MINUTE,
        30 * MINUTE,
        2 * HOUR,
        5 * HOUR,
        10 * HOUR,
        14 * HOUR,
        20 * HOUR,
        24 * HOUR,
    )
    """The waits before the second, third, … attempt; one attempt more than it has entries."""
    jitter: float = 0.1
    """How far a wait may be stretched at random, as a share of it."""
    retry_after_max: float = 24 * HOUR
    """The longest Retry-After that is honoured."""
    retry_countdown_max: float = 5 * MINUTE
    """Waits up to this are a Celery countdown; longer ones are parked in the database."""

    endpoint_max_in_flight: int = 20
    """How many deliveries an endpoint may have in flight in one courier, unless it says so."""
    courier_grace: float = 20.0
    """How long a courier that is told to end lets deliveries in flight finish."""

    release_rate: str = "100/s"
    """How fast what was held for an endpoint goes out to it (/s, /m, /h, /d); empty: at once."""

    lost_after: float = 30.0
    """A message unseen for so long is taken for lost, and the delivery is enqueued again."""
    queue_limit: int = 10_000
    """The sweeps enqueue nothing while so many messages wait: the database holds the rest."""
    sweep_chunk: int = 500
    """How many rows a sweep takes in one transaction."""
    sweep_chunks: int = 20
    """How many chunks a sweep takes in one run."""

    recovery_rate: float = 10.0
    """How many dead letters of one endpoint are redriven by themselves in a second."""

    event_retention: float = 90 * DAY
    """Events older than this are dropped, with their deliveries, once all of those have ended."""
    attempt_retention: float = 30 * DAY
    """Attempts older than this are dropped, though their deliveries are kept for longer."""
    dead_letter_retention: float = 30 * DAY
    """Dead letters older than this are given up: their deliveries are discarded."""
    held_retention: float = 30 * DAY
    """Deliveries held for longer than this become dead letters."""
    history_retention: float = 365 * DAY
    """Entries of the history older than this are dropped."""

    metrics_token: str = field(default="", repr=False)
    """Whoever shows it may read /metrics; without one nobody may."""
    heartbeat_directory: str = ""
    """Where a worker and beat touch a file as long as they work, for container health checks."""

    def limits(self) -> Limits:
        """What the senders hold an attempt to."""
        return Limits(connect_timeout=self.connect_timeout, timeout=self.timeout)

    @property
    def lease(self) -> float:
        """How long a claim lasts."""
        return self.timeout + self.lease_margin

    @property
    def max_attempts(self) -> int:
        """How many attempts a delivery has before it is a dead letter."""
        return len(self.retry_schedule) + 1
