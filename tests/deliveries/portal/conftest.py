"""A visitor of the portal: somebody who has followed a link."""

import re
from typing import Any

import pytest
from django.test import Client

from subscriptions.models import PortalSession, Subscriber
from subscriptions.portal_access import sign_link

PORTAL = "/portal/"


class Visitor:
    """A browser that is in a subscriber's portal, and sends its forms with the token they have."""

    def __init__(self, subscriber: Subscriber) -> None:
        self.client = Client(enforce_csrf_checks=True)
        self.subscriber = subscriber
        entered = self.client.post(f"{PORTAL}enter/", {"link": sign_link(subscriber)})
        assert entered.status_code == 302
        self.session = PortalSession.objects.filter(subscriber=subscriber).latest("pk")

    def get(self, path: str = "endpoints/", **query: Any) -> Any:
        return self.client.get(f"{PORTAL}{path}", query)

    def says(self, path: str, **query: Any) -> str:
        answer = self.get(path, **query)
        assert answer.status_code == 200, path
        page: str = answer.content.decode()
        return page

    def post(self, path: str, **fields: Any) -> Any:
        return self.client.post(f"{PORTAL}{path}", {"token": self.token(), **fields})

    def token(self) -> str:
        found = re.search(r'name="token" value="([^"]+)"', self.says("endpoints/"))
        assert found is not None
        return found[1]


@pytest.fixture
def visitor(subscriber: Subscriber) -> Visitor:
    return Visitor(subscriber)
