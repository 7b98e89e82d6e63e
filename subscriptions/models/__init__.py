"""Who wants what: subscribers, their endpoints, and what each endpoint asked for."""

from subscriptions.history import HistoryEntry
from subscriptions.models.api_keys import ApiKey, every_scope
from subscriptions.models.endpoints import (
    SIGNATURE_PROFILES,
    Endpoint,
    EndpointQuerySet,
    check_endpoint_url,
)
from subscriptions.models.event_types import EventType
from subscriptions.models.feeds import Feed
from subscriptions.models.handshakes import OUTCOMES, Handshake
from subscriptions.models.signing_secrets import SigningSecret
from subscriptions.models.subscribers import Subscriber
from subscriptions.models.subscriptions import (
    Subscription,
    check_channels,
    check_filter,
    check_offered,
    well_formed_pattern,
)
from subscriptions.portal_access import PortalSession

__all__ = [
    "OUTCOMES",
    "SIGNATURE_PROFILES",
    "ApiKey",
    "Endpoint",
    "EndpointQuerySet",
    "EventType",
    "Feed",
    "Handshake",
    "HistoryEntry",
    "PortalSession",
    "SigningSecret",
    "Subscriber",
    "Subscription",
    "check_channels",
    "check_endpoint_url",
    "check_filter",
    "check_offered",
    "every_scope",
    "well_formed_pattern",
]
