"""What a subscriber does with its endpoints: the API's and the admin's rules hold here as well."""

import pytest
from django.utils import timezone

from subscriptions.models import (
    Endpoint,
    EventType,
    Feed,
    HistoryEntry,
    SigningSecret,
    Subscription,
)
from tests.conftest import Configure, MakeEndpoint
from tests.deliveries.portal.conftest import Visitor
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db

URL = "https://example.com/hooks"
ASKED = {
    "url": URL,
    "format": "standard",
    "payload": "full",
    "batch_seconds": "5",
    "batch_bytes": "262144",
    "signature_profile": "standard",
    "secret_kind": "hmac",
    "authentication": "none",
}


def faults(answer: object) -> set[str]:
    """The fields that a page complains of, each next to its input, which says so to all."""
    page = answer.content.decode()  # type: ignore[attr-defined]
    found = set()
    for part in page.split('class="errorlist"')[1:]:
        start = part.partition(">")[0]
        if 'id="' in start:
            field = start.split('id="')[1].partition('"')[0]
            assert f'aria-describedby="{field}' in page or f" {field}" in page
            found.add(field.removeprefix("id_").removesuffix("_error"))
    return found


def test_an_empty_list_says_what_to_do_first(visitor: Visitor) -> None:
    assert "Add your first endpoint" in visitor.says("endpoints/")


def test_an_endpoint_is_added_with_what_it_asks_for_and_a_secret(visitor: Visitor) -> None:
    EventType.objects.create(name="invoice.paid")
    answer = visitor.post("endpoints/add/", **ASKED, patterns=["invoice.paid", "*"])
    endpoint = Endpoint.objects.get()
    assert answer.headers["Location"] == f"/portal/endpoints/{endpoint.pk}/?done=added"
    assert endpoint.subscriber == visitor.subscriber
    assert {one.pattern for one in endpoint.subscriptions.all()} == {"invoice.paid", "*"}
    assert endpoint.signing_secrets.count() == 1
    page = visitor.says(f"endpoints/{endpoint.pk}/", done="added")
    assert "The endpoint is added" in page
    assert URL in visitor.says("endpoints/")


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "https://example.com/ "}, None),
        ({"url": "ftp://example.com/"}, "url"),
        ({"url": ""}, "url"),
        ({"description": "a\u202eb"}, "description"),
        ({"payload": "projection"}, "projection"),
        ({"batch_events": "5", "ordered": "on"}, "ordered"),
        ({"batch_events": "1"}, "batch_events"),
        ({"signature_profile": "github", "secret_kind": "ed25519"}, "secret_kind"),
        ({"secret": "short"}, "secret"),
        ({"headers": "webhook-id: 1"}, "headers"),
        ({"authentication": "basic"}, "basic_user"),
        ({"patterns": ["nobody.knows"]}, "patterns"),
    ],
)
def test_what_is_no_good_is_said_next_to_its_field(
    visitor: Visitor, change: dict[str, str], wrong: str | None
) -> None:
    answer = visitor.post("endpoints/add/", **{**ASKED, **change})
    if wrong is None:
        assert answer.status_code == 302
        return
    assert answer.status_code == 422
    assert faults(answer) == {wrong}
    assert not Endpoint.objects.exists()


def test_no_secret_that_was_sent_comes_back(visitor: Visitor) -> None:
    sent = {"secret": "correct horse", "bearer_token": "battery", "headers": "X-A: staple"}
    answer = visitor.post("endpoints/add/", **{**ASKED, **sent, "url": ""})
    page = answer.content.decode()
    assert [word for word in ("correct horse", "battery", "staple") if word in page] == []


def test_only_what_was_changed_is_saved(visitor: Visitor, make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint(url=URL)
    failing_since = timezone.now()
    Endpoint.objects.update(failing_since=failing_since)
    said = {"headers": "X-Tenant: kashan", "authentication": ""}
    answer = visitor.post(f"endpoints/{endpoint.pk}/settings/", **{**ASKED, **said})
    assert answer.status_code == 302
    endpoint.refresh_from_db()
    assert endpoint.shown_credentials["header_names"] == ["X-Tenant"]
    assert endpoint.failing_since == failing_since
    assert "kashan" not in visitor.says(f"endpoints/{endpoint.pk}/settings/")


def test_credentials_do_not_move_to_another_host(
    visitor: Visitor, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint(url=URL)
    endpoint.set_credentials(headers={"X-Tenant": "isfahan"})
    endpoint.save()
    moved = {**ASKED, "authentication": "", "url": "https://example.org/"}
    answer = visitor.post(f"endpoints/{endpoint.pk}/settings/", **moved)
    assert faults(answer) == {"url"}


def test_one_that_has_had_its_challenge_is_challenged_again_where_it_moves(
    visitor: Visitor, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint(url=URL)
    endpoint.require_handshake()
    moved = {**ASKED, "authentication": "", "url": "https://example.org/"}
    visitor.post(f"endpoints/{endpoint.pk}/settings/", **moved)
    endpoint.refresh_from_db()
    assert (endpoint.url, endpoint.state) == ("https://example.org/", "unverified")


def test_where_every_endpoint_has_to_answer_a_challenge_so_has_one_of_the_portal_s(
    visitor: Visitor, configure: Configure
) -> None:
    configure(REQUIRE_HANDSHAKE=True)
    visitor.post("endpoints/add/", **ASKED)
    assert Endpoint.objects.get().state == "unverified"


def test_an_endpoint_is_paused_resumed_and_verified(
    visitor: Visitor, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint()
    for action, state in (("pause", "paused"), ("resume", "active"), ("verify", "unverified")):
        answer = visitor.post(f"endpoints/{endpoint.pk}/{action}/")
        endpoint.refresh_from_db()
        assert (answer.status_code, endpoint.state) == (302, state)


def test_a_page_asks_before_an_endpoint_is_deleted(
    visitor: Visitor, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint()
    assert "Delete this endpoint?" in visitor.says(f"endpoints/{endpoint.pk}/delete/")
    assert visitor.post(f"endpoints/{endpoint.pk}/delete/").status_code == 302
    endpoint.refresh_from_db()
    assert endpoint.state == "deleted"
    assert visitor.get(f"endpoints/{endpoint.pk}/").status_code == 404


def test_a_feed_has_a_page_without_what_it_cannot_have(visitor: Visitor) -> None:
    feed = Feed.objects.open(visitor.subscriber)
    page = visitor.says(f"endpoints/{feed.pk}/")
    assert "How a feed works" in page
    assert "Send a test event" not in page
    for path in ("secret/", "pause/", "secret/rotate/"):
        assert visitor.post(f"endpoints/{feed.pk}/{path}").status_code in (404, 405)
    assert visitor.post(f"endpoints/{feed.pk}/test-event/").status_code == 409
    visitor.post(f"endpoints/{feed.pk}/settings/", description="The books")
    feed.refresh_from_db()
    assert feed.description == "The books"


def test_a_second_endpoint_with_the_same_url_is_remarked_on(
    visitor: Visitor, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint(url=URL)
    endpoint = make_endpoint(url=URL)
    assert "arrives twice" in visitor.says(f"endpoints/{endpoint.pk}/")


def test_a_secret_is_shown_when_it_is_asked_for_and_that_is_noted(
    visitor: Visitor, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint()
    secret = endpoint.signing_secrets.get().reveal()
    assert secret is not None
    for path in ("", "secret/", "settings/"):
        assert secret not in visitor.says(f"endpoints/{endpoint.pk}/{path}")
    assert secret in visitor.post(f"endpoints/{endpoint.pk}/secret/reveal/").content.decode()
    noted = HistoryEntry.objects.get(action="revealed")
    assert (noted.endpoint, noted.actor_kind) == (endpoint.pk, "portal")


def test_a_secret_is_rotated_and_the_older_ones_expire(
    visitor: Visitor, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint()
    at = f"endpoints/{endpoint.pk}/secret/"
    visitor.post(f"{at}rotate/", secret_kind="ed25519")
    newest = endpoint.signing_secrets.get(expires_at=None)
    assert (newest.kind, endpoint.signing_secrets.live().count()) == ("ed25519", 2)
    assert newest.public_key in visitor.post(f"{at}reveal/").content.decode()
    visitor.post(f"{at}expire/")
    assert SigningSecret.objects.get() == newest


def test_a_secret_that_the_profile_cannot_sign_with_is_refused(
    visitor: Visitor, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint(signature_profile="github")
    at = f"endpoints/{endpoint.pk}/secret/rotate/"
    assert faults(visitor.post(at, secret_kind="ed25519")) == {"secret_kind"}
    assert faults(visitor.post(at, secret_kind="hmac", secret="short")) == {"secret"}
    assert SigningSecret.objects.count() == 1


def test_a_test_event_is_shown_with_what_was_answered(
    visitor: Visitor, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    receiver.answers["/hook"] = lambda *_: Answer(503, b'{"detail": "<b>the loom</b>"}')
    endpoint = make_endpoint(url=receiver.url())
    at = f"endpoints/{endpoint.pk}/test-event/"
    assert "Send a test event" in visitor.says(at)
    assert receiver.received == []
    page = visitor.post(at).content.decode()
    [got] = receiver.received
    assert got.id in page
    assert "HTTP 503" in page
    assert "&lt;b&gt;the loom&lt;/b&gt;" in page


def test_one_that_has_not_answered_its_challenge_is_sent_no_test_event(
    visitor: Visitor, make_endpoint: MakeEndpoint
) -> None:
    endpoint = make_endpoint(state="unverified")
    answer = visitor.post(f"endpoints/{endpoint.pk}/test-event/")
    assert answer.status_code == 409
    assert "has not answered its challenge" in answer.content.decode()


def test_what_a_deleted_subscription_asked_for_is_asked_for_no_more(
    visitor: Visitor, make_endpoint: MakeEndpoint
) -> None:
    subscription = make_endpoint("a.b").subscriptions.get()
    visitor.post(f"subscriptions/{subscription.pk}/delete/")
    assert not Subscription.objects.exists()
