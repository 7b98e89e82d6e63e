"""What emit() has to know of the catalogue of event types, at no query for each event."""

import json
import logging
from dataclasses import dataclass
from time import monotonic

from django.db import connection
from django.db.models.signals import post_delete, post_save

from subscriptions.conf import SubscriptionSettings, part
from subscriptions.event_types import UnknownEventType
from subscriptions.ids import to_uuid
from subscriptions.operational import OPERATIONAL_TYPES
from subscriptions.payload_schemas import first_fault
from webhooks.payloads import InvalidPayload

logger = logging.getLogger(__name__)

READ = """
    SELECT name, feature_flag, schema_check,
           CASE WHEN schema_check <> 'off' THEN schema::text END
      FROM subscriptions_eventtype
"""

HAS_FLAG = "SELECT %s = ANY(feature_flags) FROM subscriptions_subscriber WHERE id = %s"


class BrokenSchema(InvalidPayload):
    """Data that is not as the schema of its event type says; the message says where."""


@dataclass(frozen=True, slots=True)
class KnownType:
    """An event type of the catalogue."""

    feature_flag: str
    """Of the subscribers to whom it exists; empty for all."""
    schema_check: str
    schema: str | None
    """As JSON text; None where data is not held against it."""


class Catalogue:
    """This process' copy of the catalogue, read anew once it is older than CATALOGUE_AGE."""

    def __init__(self) -> None:
        self._types: dict[str, KnownType] = {}
        self._read_at: float | None = None

    def get(self, name: str) -> KnownType | None:
        """The event type of that name, if the catalogue has it."""
        age = part(SubscriptionSettings).catalogue_age
        if self._read_at is None or monotonic() - self._read_at >= age:
            self._read()
        return self._types.get(name)

    def forget(self, **_: object) -> None:
        """Read it anew when next asked."""
        self._read_at = None

    def _read(self) -> None:
        began = monotonic()
        with connection.cursor() as cursor:
            cursor.execute(READ)
            self._types = {name: KnownType(*rest) for name, *rest in cursor.fetchall()}
        self._read_at = began


catalogue = Catalogue()
for changed in (post_save, post_delete):
    changed.connect(catalogue.forget, sender="subscriptions.EventType")


def check_event(name: str, payload: str, *, subscriber: str | None) -> None:
    """Hold an event against the catalogue: its type, and its data (JSON text) by the schema.

    To a subscriber without its feature flag an event type does not exist. Raises UnknownEventType
    and BrokenSchema.
    """
    known = catalogue.get(name)
    if known is not None and known.feature_flag and subscriber is not None:
        known = known if _has_flag(subscriber, known.feature_flag) else None
    if known is None:
        refused = part(SubscriptionSettings).unknown_event_types == "refuse"
        if refused and name not in OPERATIONAL_TYPES:
            raise UnknownEventType(f"There is no event type {name}: add it to the catalogue first.")
        return
    if known.schema is None:
        return
    # What is sent is checked, which may differ from what was given: a tuple is sent as an array.
    fault = first_fault(known.schema, json.loads(payload))
    if fault is None:
        return
    if known.schema_check == "refuse":
        raise BrokenSchema(str(fault))
    logger.warning(
        "The data of an event of type %s breaks its schema at %s (%s)",
        name,
        fault.path,
        fault.keyword,
    )


def _has_flag(subscriber: str, feature_flag: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(HAS_FLAG, [feature_flag, to_uuid(subscriber)])
        return any(has for (has,) in cursor.fetchall())
