"""How often the portal may be asked: by a session, or from a network by whoever has none."""

from hashlib import sha256

from django.http import HttpRequest

from deliveries.portal import sessions
from deliveries.portal.conf import PortalSettings
from subscriptions.api.throttling import Buckets
from subscriptions.client_address import address_of, network_of
from subscriptions.conf import part
from subscriptions.rates import Rate


def wait_of(request: HttpRequest) -> int:
    """Count a request; 0, or the seconds that it comes too soon. Without Redis none does."""
    rate = part(PortalSettings).portal_rate
    whose = sessions.named(request) or network_of(address_of(request))
    if not rate or not whose:
        return 0
    name = f"portal:{sha256(whose.encode()).hexdigest()}"
    allowance = Buckets.here().take(name, Rate.parse(rate))
    return 0 if allowance is None else allowance.wait
