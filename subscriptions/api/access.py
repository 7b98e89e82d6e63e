"""Who may use the API, for what, and what they see.

Whoever sends an API key as a bearer token (RFC 6750, section 2.1) may do what its scopes say. To a
key that is bound to a subscriber nothing exists that is not that subscriber's.
"""

from typing import Any, TypeVar, cast

from django.db.models import Model, QuerySet
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework_api_key.permissions import KeyParser

from subscriptions.models import ApiKey

Row = TypeVar("Row", bound=Model)


class BearerParser(KeyParser):
    keyword = "Bearer"


class ApiKeyAuthentication(BaseAuthentication):
    """Finds the ApiKey that a request was sent with; views see it as `request.auth`."""

    def authenticate(self, request: Request) -> tuple[None, ApiKey] | None:
        key = BearerParser().get(request)
        if key is None:
            return None
        api_key = _usable(key)
        api_key.note_use()
        return None, api_key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Angarium"'


def _usable(key: str) -> ApiKey:
    try:
        api_key = cast("ApiKey", ApiKey.objects.get_from_key(key))
    except ApiKey.DoesNotExist:
        raise AuthenticationFailed("This API key is not known, or was revoked.") from None
    if api_key.has_expired:
        raise AuthenticationFailed("This API key has expired.")
    return api_key


class HasScope(BasePermission):
    """Lets in whoever has shown a valid key that has the scope of what is asked for.

    A view says in `scopes` what each of its actions takes, and in `unbound_only` which of them are
    not for keys that are bound to a subscriber. What is bound gets its 404 before its 403, so that
    the difference tells nothing about others.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        key = request.auth
        if not isinstance(key, ApiKey):
            return False
        if request.method not in view.allowed_methods:
            return True  # the answer will be 405
        needed = view.scopes[view.action]
        if not key.may(needed):
            raise PermissionDenied(f'This takes an API key with the scope "{needed}".')
        return view.detail or self.has_object_permission(request, view, None)

    def has_object_permission(self, request: Request, view: Any, obj: Model | None) -> bool:
        if view.action in view.unbound_only and subscriber_of(request) is not None:
            raise PermissionDenied("This takes an API key that is not bound to a subscriber.")
        return True


def subscriber_of(request: Request) -> str | None:
    """The id of the one subscriber that the request's key is bound to, or None if it is not."""
    key = request.auth
    return key.subscriber_id if isinstance(key, ApiKey) else None


def visible(rows: QuerySet[Row], request: Request, owner: str) -> QuerySet[Row]:
    """Those that the request's key may see; `owner` is the look-up that leads to a subscriber."""
    subscriber = subscriber_of(request)
    return rows if subscriber is None else rows.filter(**{owner: subscriber})
