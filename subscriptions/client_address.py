"""Where a request comes from, as far as that can be trusted."""

from ipaddress import ip_address, ip_network

from django.http import HttpRequest

from subscriptions.conf import SubscriptionSettings, part


def address_of(request: HttpRequest) -> str:
    """The client's IP address; "" where it has none, as on a Unix socket.

    PROXIES says how many proxies of our own stand in front. Each adds the address that it was
    called from at the end of X-Forwarded-For; what stands before those can be made up.
    """
    seen = request.META.get("REMOTE_ADDR", "")
    forwarded = request.headers.get("X-Forwarded-For", "").split(",")
    if 0 < part(SubscriptionSettings).proxies <= len(forwarded):
        seen = forwarded[-part(SubscriptionSettings).proxies].strip() or seen
    try:
        address = ip_address(seen.partition("%")[0])
    except ValueError:
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)


def network_of(address: str) -> str:
    """What an address is counted under: an IPv6 address is easily changed, within its /64."""
    return str(ip_network(f"{address}/64", strict=False)) if ":" in address else address
