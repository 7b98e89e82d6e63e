"""What happened: events, their deliveries, the attempts at each, the dead letters, the replays."""

from deliveries.models.attempts import Attempt
from deliveries.models.dead_letters import DeadLetter, DeadLetterJob
from deliveries.models.deliveries import Delivery
from deliveries.models.erasures import Erasure
from deliveries.models.events import Event
from deliveries.models.operational_notices import OperationalNotice
from deliveries.models.queue_samples import QueueSample
from deliveries.models.replays import Replay
from deliveries.models.state_changes import StateChange

__all__ = [
    "Attempt",
    "DeadLetter",
    "DeadLetterJob",
    "Delivery",
    "Erasure",
    "Event",
    "OperationalNotice",
    "QueueSample",
    "Replay",
    "StateChange",
]
