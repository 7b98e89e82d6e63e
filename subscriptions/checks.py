"""What `manage.py check` makes sure of before anything runs."""

from typing import Any

from django.core.checks import CheckMessage, Error

from subscriptions.conf import SubscriptionSettings, part
from subscriptions.rates import InvalidRate, Rate


def check_api_rate(**_: Any) -> list[CheckMessage]:
    rate = part(SubscriptionSettings).api_rate
    try:
        if rate:
            Rate.parse(rate)
    except InvalidRate as error:
        return [Error(f"ANGARIUM's API_RATE: {error}", id="subscriptions.E001")]
    return []
