"""The part of the ANGARIUM settings that concerns the portal. Times are in seconds."""

from dataclasses import dataclass

MINUTE = 60.0
HOUR = 60 * MINUTE


@dataclass(frozen=True)
class PortalSettings:
    """How the portal looks, who may embed it, and for how long one is let in."""

    portal_name: str = "Webhooks"
    """What it is called, in its head and in the browser's tab."""
    portal_logo_url: str = ""
    """A picture before the name: https://…, or a path on this host; none, if empty."""
    portal_colour: str = "#0b6477"
    """Of buttons and links, as #rrggbb; shades that can be read are made of it."""
    portal_embed_origins: tuple[str, ...] = ()
    """The sites whose pages may have the portal in a frame, as in https://app.example.com."""
    portal_link_age: float = 5 * MINUTE
    """How long a link to the portal is good, if it is not used before."""
    portal_session_age: float = 4 * HOUR
    """How long one is let in by it."""
    portal_rate: str = "600/m"
    """Requests of one session, or of one network without a session; any number, if empty."""
