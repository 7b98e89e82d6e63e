"""Operational webhooks: what Angarium has to tell whoever runs it, delivered through itself.

Triggers (migration 0004) write a notice down in the transaction in which the thing happens, by
whatever way: a person's, a worker's, bare SQL. A sweep makes events of the notices, for the
endpoints of operators. What concerns an operator's own endpoints is no notice, so that none of this
can go round in circles: a dead delivery of `delivery.dead` stays a dead letter and nothing else.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from deliveries.emit import emit
from deliveries.models import OperationalNotice
from subscriptions.models import Subscriber

logger = logging.getLogger(__name__)

MAX_NAMED = 100
"""So many dead deliveries are named in one event; of the rest it has their number."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened to an endpoint, a delivery or a replay."""

    type: str
    at: datetime
    data: dict[str, Any]


def announce(limit: int) -> int:
    """Emit events for up to `limit` notices. Returns how many notices there were."""
    with transaction.atomic():
        notices = OperationalNotice.objects.take(limit)
        operators = list(Subscriber.objects.filter(operator=True)) if notices else []
        for notice in gathered(Notice(one.type, one.at, one.data) for one in notices):
            for operator in operators:
                _tell(operator, notice)
    return len(notices)


def gathered(notices: Iterable[Notice]) -> Iterator[Notice]:
    """One notice for all deliveries of an endpoint that died for the same reason; the rest as is.

    An endpoint that goes for good takes thousands of deliveries with it: the operator wants to hear
    of that once. It stands where the first of them did, and has the last one's error.
    """
    deaths: dict[tuple[str, str], dict[str, Any]] = {}
    told: list[Notice] = []
    for notice in notices:
        if notice.type != "delivery.dead":
            told.append(notice)
            continue
        data = dict(notice.data)
        delivery = data.pop("delivery")
        together = deaths.get((data["endpoint"], data["reason"]))
        if together is None:
            together = deaths[data["endpoint"], data["reason"]] = {"count": 0, "deliveries": []}
            told.append(Notice(notice.type, notice.at, together))
        together.update(data)
        together["count"] += 1
        if len(together["deliveries"]) < MAX_NAMED:
            together["deliveries"].append(delivery)
    return iter(told)


def _tell(operator: Subscriber, notice: Notice) -> None:
    try:
        with transaction.atomic():
            emit(notice.type, notice.data, subscriber=operator, occurred_at=notice.at)
    except ValueError as error:
        # The application has an event type of this name, with a schema that refuses this data.
        logger.error("%s cannot be told to %s: %s", notice.type, operator.pk, error)
