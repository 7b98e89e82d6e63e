"""Into the portal leads a link, once and for a while; what it opens ends when it should."""

import re
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from deliveries import sweeps
from subscriptions.models import ApiKey, PortalSession, Subscriber
from subscriptions.portal_access import sign_link
from tests.api_client import api as api
from tests.api_client import client_of
from tests.conftest import Configure
from tests.deliveries.portal.conftest import Visitor

pytestmark = pytest.mark.django_db

ENTER = "/portal/enter/"


def enter(link: str) -> tuple[Client, int, str]:
    client = Client()
    answer = client.post(ENTER, {"link": link})
    return client, answer.status_code, answer.content.decode()


def link_of(api: APIClient, subscriber: Subscriber) -> str:
    answer = api.post(f"/api/v1/subscribers/{subscriber.pk}/portal-link/")
    assert answer.status_code == 200
    url: str = answer.json()["url"]
    return url


def test_the_api_hands_out_a_link_that_leads_in(api: APIClient, subscriber: Subscriber) -> None:
    url = link_of(api, subscriber)
    assert url.startswith("http://testserver/portal/enter/?link=")
    client = Client()
    asked = client.get(url).content.decode()
    [link] = re.findall(r'name="link" value="([^"]+)"', asked)
    answer = client.post(ENTER, {"link": link}, follow=True)
    assert answer.redirect_chain == [("/portal/", 302), ("/portal/endpoints/", 302)]
    assert "Shah Abbas" in answer.content.decode()


def test_a_link_is_of_the_public_url_and_says_until_when_it_is_good(
    api: APIClient, subscriber: Subscriber, configure: Configure
) -> None:
    configure(PUBLIC_URL="https://hooks.example.com/", PORTAL_LINK_AGE=60)
    before = timezone.now()
    answer = api.post(f"/api/v1/subscribers/{subscriber.pk}/portal-link/").json()
    assert answer["url"].startswith("https://hooks.example.com/portal/enter/?link=")
    until = timezone.datetime.fromisoformat(answer["expires_at"])  # type: ignore[attr-defined]
    assert before + timedelta(seconds=59) < until < timezone.now() + timedelta(seconds=61)


def test_a_bound_key_gets_links_for_its_own_subscriber_alone(subscriber: Subscriber) -> None:
    other = Subscriber.objects.create(name="Croesus")
    client = client_of(ApiKey(name="a", subscriber=subscriber))
    assert link_of(client, subscriber)
    assert client.post(f"/api/v1/subscribers/{other.pk}/portal-link/").status_code == 404


def test_a_link_opens_once(subscriber: Subscriber) -> None:
    link = sign_link(subscriber)
    _, status, _ = enter(link)
    assert status == 302
    again, status, page = enter(link)
    assert status == 403
    assert "has been used" in page
    assert again.get("/portal/endpoints/").status_code == 403


def test_whatever_fetches_links_by_itself_uses_none_up(subscriber: Subscriber) -> None:
    link = sign_link(subscriber)
    scanner = Client()
    for look in (scanner.head, scanner.get, scanner.get):
        assert look(ENTER, {"link": link}).status_code == 200
    assert not scanner.cookies
    assert enter(link)[1] == 302
    used = scanner.get(ENTER, {"link": link})
    assert (used.status_code, "has been used" in used.content.decode()) == (403, True)


def test_a_link_that_is_too_old_opens_nothing(subscriber: Subscriber, configure: Configure) -> None:
    configure(PORTAL_LINK_AGE=-1)
    _, status, page = enter(sign_link(subscriber))
    assert status == 403
    assert "has expired" in page


@pytest.mark.parametrize("link", ["", "x", "a:b:c", "\0", "é"])
def test_what_is_no_link_opens_nothing(link: str) -> None:
    _, status, page = enter(link)
    assert status == 403
    assert "no link to the portal" in page


def test_a_link_to_a_subscriber_that_is_gone_opens_nothing(subscriber: Subscriber) -> None:
    link = sign_link(subscriber)
    subscriber.delete()
    assert enter(link)[1] == 403


def test_a_session_ends_with_its_subscriber(api: APIClient, visitor: Visitor) -> None:
    assert api.delete(f"/api/v1/subscribers/{visitor.subscriber.pk}/").status_code == 204
    assert visitor.get().status_code == 403
    assert not PortalSession.objects.exists()


def test_a_session_ends_when_its_subscriber_is_being_erased(visitor: Visitor) -> None:
    Subscriber.objects.update(erasing_since=timezone.now())
    assert visitor.get().status_code == 403


def test_a_session_ends_when_the_api_ends_it(api: APIClient, visitor: Visitor) -> None:
    elsewhere = Visitor(visitor.subscriber)
    other = Visitor(Subscriber.objects.create(name="Croesus"))
    path = f"/api/v1/subscribers/{visitor.subscriber.pk}/end-portal-sessions/"
    assert [api.post(path).json(), api.post(path).json()] == [{"count": 2}, {"count": 0}]
    assert [one.get().status_code for one in (visitor, elsewhere, other)] == [403, 403, 200]


def test_a_session_ends_when_the_visitor_leaves_and_its_cookie_is_then_worth_nothing(
    visitor: Visitor,
) -> None:
    kept = visitor.client.cookies["portal"].value
    assert visitor.post("leave/").headers["Location"] == "/portal/left/"
    assert visitor.client.cookies["portal"].value == ""
    visitor.client.cookies["portal"] = kept
    assert visitor.get().status_code == 403


def test_a_session_ends_with_its_time_and_the_sweep_drops_it(visitor: Visitor) -> None:
    PortalSession.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert visitor.get().status_code == 403
    assert [sweeps.expired_portal_sessions(), sweeps.expired_portal_sessions()] == [1, 0]


@pytest.mark.parametrize("forged", ["psn_0", "", "x:y:z"])
def test_a_cookie_that_is_not_ours_lets_nobody_in(visitor: Visitor, forged: str) -> None:
    visitor.client.cookies["portal"] = forged or visitor.session.pk
    assert visitor.get().status_code == 403


def test_the_cookie_is_the_portal_s_alone_and_no_script_reads_it(subscriber: Subscriber) -> None:
    cookie = Visitor(subscriber).client.cookies["portal"]
    assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == ("/portal/", True, "Lax")
    assert cookie["max-age"] == 4 * 3600
    assert not cookie["domain"]


def test_behind_tls_the_cookie_goes_over_tls_alone(
    subscriber: Subscriber, settings: LazySettings
) -> None:
    settings.SESSION_COOKIE_SECURE = True
    cookie = Visitor(subscriber).client.cookies["__Secure-portal"]
    assert cookie["secure"]


def test_the_portal_opens_no_session_of_the_admin_s_and_the_admin_none_of_the_portal_s(
    visitor: Visitor, admin_client: Client
) -> None:
    assert set(visitor.client.cookies) == {"portal"}
    assert visitor.client.get("/admin/").status_code == 302
    assert admin_client.get("/portal/endpoints/").status_code == 403
