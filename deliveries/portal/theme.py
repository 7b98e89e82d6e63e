"""What the settings make of the portal's looks: a stylesheet of its own, as none may be inline."""

import re

from deliveries.portal.colours import Colour
from deliveries.portal.conf import PortalSettings

LIGHT_GROUNDS = (Colour.parse("#ffffff"), Colour.parse("#f2f4f7"))
DARK_GROUNDS = (Colour.parse("#181c22"), Colour.parse("#262c36"))
"""What text stands on, in portal.css."""

ORIGIN = r"https?://[a-z0-9.\-]+(:\d{1,5})?"
# Whatever else a URL may have would end its directive of the policy, or mean nothing there.
LOGO = rf"({ORIGIN})?/[A-Za-z0-9._~/%\-]*"


class InvalidTheme(ValueError):
    """A setting of the portal that is no good; the message says which, and why."""


def check_theme(settings: PortalSettings) -> None:
    """Raise InvalidTheme, or InvalidColour, at the first fault."""
    Colour.parse(settings.portal_colour)
    logo = settings.portal_logo_url
    if logo and (not re.fullmatch(LOGO, logo) or logo.startswith("//")):
        raise InvalidTheme(
            f"PORTAL_LOGO_URL is {logo!r}: use https://… or a path, of letters, digits and ._~/%- "
            "alone."
        )
    for origin in settings.portal_embed_origins:
        if not re.fullmatch(ORIGIN, origin):
            raise InvalidTheme(
                f"PORTAL_EMBED_ORIGINS has {origin!r}: name scheme and host, as in "
                "https://app.example.com."
            )


def stylesheet(settings: PortalSettings) -> str:
    """The variables that portal.css leaves open."""
    colour = Colour.parse(settings.portal_colour)
    return (
        f":root {{ --brand: {colour}; --on-brand: {colour.opposite}; "
        f"--ink-brand: {colour.readable_on(*LIGHT_GROUNDS)}; }}\n"
        "@media (prefers-color-scheme: dark) { "
        f":root {{ --ink-brand: {colour.readable_on(*DARK_GROUNDS)}; }} }}\n"
    )
