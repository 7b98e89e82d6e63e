"""Neither a session nor anybody without one asks the portal more often than PORTAL_RATE."""

import pytest
from django.core.checks import run_checks
from django.test import Client

from subscriptions.models import Subscriber
from subscriptions.portal_access import sign_link
from tests.conftest import Configure
from tests.deliveries.portal.conftest import Visitor

pytestmark = pytest.mark.django_db


def test_each_session_has_its_own_rate(
    visitor: Visitor, subscriber: Subscriber, configure: Configure
) -> None:
    other = Visitor(subscriber)
    configure(PORTAL_RATE="2/d")
    answers = [visitor.get() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[-1].headers["Retry-After"]) > 3600
    assert "Too many requests" in answers[-1].content.decode()
    assert other.get().status_code == 200


def test_links_cannot_be_tried_out_from_one_network(
    subscriber: Subscriber, configure: Configure
) -> None:
    configure(PORTAL_RATE="2/d")

    def enter(address: str) -> int:
        link = {"link": sign_link(subscriber)}
        return Client(REMOTE_ADDR=address).post("/portal/enter/", link).status_code

    assert [enter("2001:db8::1"), enter("2001:db8::2"), enter("2001:db8::3")] == [302, 302, 429]
    assert enter("192.0.2.1") == 302


def test_without_redis_or_a_rate_nobody_waits(visitor: Visitor, configure: Configure) -> None:
    configure(PORTAL_RATE="")
    assert {visitor.get().status_code for _ in range(5)} == {200}
    configure(PORTAL_RATE="1/d", REDIS_URL="redis://127.0.0.1:1/0")
    assert {visitor.get().status_code for _ in range(5)} == {200}


def test_a_rate_that_is_none_is_found_before_a_visitor_comes(configure: Configure) -> None:
    configure(PORTAL_RATE="often")
    assert any("'often' is not a rate" in str(fault) for fault in run_checks())
