"""Whose the changes are that a request makes."""

from collections.abc import Callable

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connection
from django.http import HttpRequest, HttpResponse

from subscriptions import request_ids
from subscriptions.attribution import Actor, ActorKind, Attributing
from subscriptions.client_address import address_of
from subscriptions.models import ApiKey, Subscriber


class Attribution:
    """Says of each change that a request makes whose it is, and from where.

    That is an API key, a subscriber in the portal, or a user.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with connection.execute_wrapper(Attributing(lambda: _sender(request))):
            return self.get_response(request)


def _sender(request: HttpRequest) -> Actor:
    where = address_of(request), request_ids.current.get() or ""
    key = getattr(request, "auth", None)
    if isinstance(key, ApiKey):
        return Actor(ActorKind.API_KEY, key.prefix, key.name, *where)
    subscriber = getattr(request, "portal_subscriber", None)
    if isinstance(subscriber, Subscriber):
        return Actor(ActorKind.PORTAL, subscriber.pk, subscriber.name, *where)
    user = getattr(request, "user", None)
    if isinstance(user, AbstractBaseUser):
        return Actor(ActorKind.USER, str(user.pk), user.get_username(), *where)
    return Actor(ActorKind.ANGARIUM, "", "", *where)
