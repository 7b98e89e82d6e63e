"""What `manage.py check` makes sure of before a subscriber sees the portal."""

from typing import Any

from django.core.checks import CheckMessage, Error

from deliveries.portal.colours import InvalidColour
from deliveries.portal.conf import PortalSettings
from deliveries.portal.theme import InvalidTheme, check_theme
from subscriptions.conf import part
from subscriptions.rates import InvalidRate, Rate


def check_portal(**_: Any) -> list[CheckMessage]:
    try:
        settings = part(PortalSettings)
        check_theme(settings)
        if settings.portal_rate:
            Rate.parse(settings.portal_rate)
    except (InvalidColour, InvalidRate, InvalidTheme) as error:
        return [Error(f"ANGARIUM's portal: {error}", id="deliveries.E001")]
    return []
