"""What `manage.py check` makes sure of before anything runs."""

from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from subscriptions import encryption
from subscriptions.conf import SubscriptionSettings, part
from subscriptions.rates import InvalidRate, Rate
from subscriptions.redis_address import RedisAddress
from subscriptions.server_url import InvalidServerUrl
from webhooks.addresses import InvalidAddressPolicy
from webhooks.sending.proxy import InvalidEgressProxy


def check_settings(**_: Any) -> list[CheckMessage]:
    """Each fault of the ANGARIUM settings that would be met by the first request or delivery."""
    settings = part(SubscriptionSettings)
    faults: list[CheckMessage] = []
    try:
        if settings.api_rate:
            Rate.parse(settings.api_rate)
    except InvalidRate as error:
        faults.append(Error(f"ANGARIUM's API_RATE: {error}", id="subscriptions.E001"))
    try:
        settings.address_policy()
    except InvalidAddressPolicy as error:
        faults.append(Error(f"ANGARIUM's networks and ports: {error}", id="subscriptions.E002"))
    try:
        settings.proxy()
    except InvalidEgressProxy as error:
        faults.append(Error(f"ANGARIUM's EGRESS_PROXY: {error}", id="subscriptions.E005"))
    try:
        RedisAddress.parse(settings.redis_url)
    except InvalidServerUrl as error:
        faults.append(Error(f"ANGARIUM's REDIS_URL: {error}", id="subscriptions.E006"))
    try:
        encryption.encrypt("")
    except ImproperlyConfigured as error:
        faults.append(Error(str(error), id="subscriptions.E003"))
    if settings.unknown_event_types not in ("allow", "refuse"):
        what = f"{settings.unknown_event_types!r} is neither allow nor refuse."
        faults.append(Error(f"ANGARIUM's UNKNOWN_EVENT_TYPES: {what}", id="subscriptions.E004"))
    return faults


def check_admin(**_: Any) -> list[CheckMessage]:
    """Where there is an admin, unfold has to dress it: the pages are made of its templates."""
    names = [app.name for app in apps.get_app_configs()]
    admin = "django.contrib.admin"
    if admin not in names or "unfold" in names[: names.index(admin)]:
        return []
    return [Error(f'Put "unfold" before "{admin}" in INSTALLED_APPS.', id="subscriptions.E007")]
