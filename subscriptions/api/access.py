"""Who may use the API: whoever sends an API key as a bearer token (RFC 6750, section 2.1)."""

from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework_api_key.models import AbstractAPIKey
from rest_framework_api_key.permissions import KeyParser

from subscriptions.models import ApiKey


class BearerParser(KeyParser):
    keyword = "Bearer"


class ApiKeyAuthentication(BaseAuthentication):
    """Finds the ApiKey that a request was sent with; views see it as `request.auth`."""

    def authenticate(self, request: Request) -> tuple[None, AbstractAPIKey] | None:
        key = BearerParser().get(request)
        if key is None:
            return None
        return None, _usable(key)

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Angarium"'


def _usable(key: str) -> AbstractAPIKey:
    try:
        api_key = ApiKey.objects.get_from_key(key)
    except ApiKey.DoesNotExist:
        raise AuthenticationFailed("This API key is not known, or was revoked.") from None
    if api_key.has_expired:
        raise AuthenticationFailed("This API key has expired.")
    return api_key


class HasApiKey(BasePermission):
    """Lets in whoever has shown a valid key."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return isinstance(request.auth, ApiKey)
