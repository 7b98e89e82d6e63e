"""Who may use the API: whoever sends an API key as a bearer token (RFC 6750, section 2.1)."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView
from rest_framework_api_key.permissions import KeyParser

from subscriptions.models import ApiKey


class BearerParser(KeyParser):  # type: ignore[misc]
    keyword = "Bearer"


class ApiKeyAuthentication(BaseAuthentication):
    """Finds the ApiKey that a request was sent with; views see it as `request.auth`."""

    def authenticate(self, request: Request) -> tuple[None, ApiKey] | None:
        key = BearerParser().get(request)
        if key is None:
            return None
        return None, _usable(key)

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Angarium"'


def _usable(key: str) -> ApiKey:
    # PostgreSQL has no NUL to compare with.
    if key.isprintable():
        try:
            api_key: ApiKey = ApiKey.objects.get_from_key(key)
        except ApiKey.DoesNotExist:
            pass
        else:
            if not api_key.has_expired:
                return api_key
    raise AuthenticationFailed("This API key is not known, or no longer valid.")


class HasApiKey(BasePermission):
    """Lets in whoever has shown a valid key."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.auth, ApiKey)


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes the key to readers of the OpenAPI document."""

    target_class = ApiKeyAuthentication
    name = "ApiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key, as `manage.py create_api_key NAME` prints it.",
        }
