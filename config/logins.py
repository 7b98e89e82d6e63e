"""Logging in to the admin, where guessing passwords is slow.

Attempts are counted in Redis, for all web processes: those for a name from an address, those from
an address, and those for a name from addresses that it has not logged in from before. So whoever
guesses at a name holds up neither its owner's usual addresses nor, for longer than it takes to
guess on, any other. While Redis does not answer, each process counts for itself.
"""

import logging
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.core.cache.backends.locmem import LocMemCache
from django.forms import ValidationError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.debug import sensitive_variables

from subscriptions.api.throttling import Buckets
from subscriptions.client_address import address_of, network_of
from subscriptions.rates import Rate

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
    from django.contrib.admin.forms import AdminAuthenticationForm
else:
    from unfold.forms import AuthenticationForm as AdminAuthenticationForm
    from unfold.sites import UnfoldAdminSite as AdminSite

MINUTE = 60
BY_NAME_AND_ADDRESS = Rate(5, 15 * MINUTE)
BY_ADDRESS = Rate(30, 15 * MINUTE)
BY_NAME = Rate(100, 60 * MINUTE)
KNOWN_FOR = 30 * 24 * 60 * MINUTE

logger = logging.getLogger(__name__)


class Attempts(Buckets):
    """Counts the attempts to log in. What is kept of names and addresses is a hash."""

    without = "each process counts the attempts to log in for itself."

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._own = LocMemCache(f"logins {url}", {"OPTIONS": {"MAX_ENTRIES": 10_000}})

    def wait(self, name: str, address: str) -> int:
        """Count an attempt that is about to be made; 0, or the seconds that it must wait."""
        network = network_of(address)
        pair = _key("pair", name, network)
        limits = [(_key("address", network), BY_ADDRESS), (pair, BY_NAME_AND_ADDRESS)]
        if not self._is_known(pair):
            limits.append((_key("name", name), BY_NAME))
        for key, rate in limits:
            if wait := self._wait(key, rate):
                return wait
        return 0

    def succeeded(self, name: str, address: str) -> None:
        """From now on the address is one that the name is known to log in from."""
        pair = _key("pair", name, network_of(address))
        self._own.delete(pair)
        self.fill(pair)
        self.ask(lambda: self.client.set(f"angarium:known:{pair}", 1, ex=KNOWN_FOR))

    def _is_known(self, pair: str) -> bool:
        return bool(self.ask(lambda: self.client.exists(f"angarium:known:{pair}")))

    def _wait(self, key: str, rate: Rate) -> int:
        allowance = self.take(key, rate)
        if allowance is not None:
            return allowance.wait
        self._own.add(key, 0, timeout=rate.window)
        return 0 if self._own.incr(key) <= rate.quota else rate.window


def _key(*about: str) -> str:
    return "login:" + sha256("\0".join(about).casefold().encode()).hexdigest()


class LoginForm(AdminAuthenticationForm):
    """Refuses an attempt that comes too soon, without a look at its password."""

    request: HttpRequest
    wait = 0

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        name: str = self.cleaned_data.get("username", "")
        if self.errors:
            return super().clean()
        address = address_of(self.request)
        counted = Attempts.here()
        self.wait = counted.wait(name, address)
        if self.wait:
            logger.warning("Refused a login as %r from %s: too many attempts.", name, address)
            minutes = -(-self.wait // MINUTE)
            raise ValidationError(
                f"Too many attempts to log in. Try again in {minutes} min.", code="too_many"
            )
        try:
            cleaned = super().clean()
        except ValidationError:
            logger.warning("A login as %r from %s failed.", name, address)
            raise
        counted.succeeded(name, address)
        logger.info("%r logged in from %s.", name, address)
        return cleaned


class Site(AdminSite):
    """The admin, whose login says by its status that an attempt came too soon."""

    login_form = LoginForm

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        # The colours are in a file, as the Content-Security-Policy has no style in a page.
        return {**super().each_context(request), "colors": None}

    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        response = super().login(request, extra_context)
        form = (getattr(response, "context_data", None) or {}).get("form")
        if form is not None and form.wait:
            response.status_code = 429
            response.headers["Retry-After"] = str(form.wait)
        return response
