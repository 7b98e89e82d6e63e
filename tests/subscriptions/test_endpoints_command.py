import io
import re

import pytest
from django.core.management import CommandError, call_command

from subscriptions import encryption
from subscriptions.models import Endpoint, Feed, Handshake, SigningSecret, Subscriber
from tests.conftest import Configure, MakeEndpoint

pytestmark = pytest.mark.django_db

URL = "https://example.com/webhooks"


def endpoints(*arguments: str, stderr: io.StringIO | None = None) -> str:
    out = io.StringIO()
    call_command("endpoints", *arguments, no_color=True, stdout=out, stderr=stderr)
    return out.getvalue()


def test_one_is_added_with_its_subscriber_and_subscriptions_and_shows_its_secret() -> None:
    said = endpoints(
        *("add", URL, "--new-subscriber", "Isfahan Carpets"),
        *("--subscribe", "invoice.*", "--subscribe", "user.created", "--description", "till"),
    )
    endpoint = Endpoint.objects.get()
    assert (endpoint.url, endpoint.description, endpoint.state) == (URL, "till", "active")
    assert endpoint.subscriber.name == "Isfahan Carpets"
    assert [one.pattern for one in endpoint.subscriptions.all()] == ["invoice.*", "user.created"]
    secret = encryption.decrypt(endpoint.signing_secrets.get().ciphertext)
    assert said == f"endpoint: {endpoint.pk}\nsecret: {secret}\n"


def test_its_subscriber_is_one_that_is_there_by_its_id_or_one_s_own(subscriber: Subscriber) -> None:
    Subscriber.objects.update(external_id="customer-17")
    endpoints("add", URL, "--subscriber", subscriber.pk)
    told = io.StringIO()
    endpoints("add", URL, "--subscriber", "customer-17", stderr=told)
    assert {one.subscriber_id for one in Endpoint.objects.all()} == {subscriber.pk}
    assert "The subscriber has this URL already" in told.getvalue()


def test_one_may_be_signed_for_with_ed25519_and_has_to_answer_a_challenge(
    subscriber: Subscriber,
) -> None:
    said = endpoints("add", URL, "--subscriber", subscriber.pk, "--kind", "ed25519", "--handshake")
    assert re.search("^public key: whpk_", said, re.MULTILINE)
    assert Endpoint.objects.get().state == "unverified"


def test_where_every_one_has_to_answer_a_challenge_so_has_this(
    subscriber: Subscriber, configure: Configure
) -> None:
    configure(REQUIRE_HANDSHAKE=True)
    endpoints("add", URL, "--subscriber", subscriber.pk)
    assert Handshake.objects.get().verified_at is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ftp://example.com", "--new-subscriber", "x"], "https"),
        ([URL, "--new-subscriber", "x", "--subscribe", "no pattern"], "Use an event type"),
        ([URL, "--new-subscriber", ""], "cannot be blank"),
        ([URL, "--subscriber", "customer-18"], "no subscriber customer-18"),
        ([URL, "--subscriber", "sub_1"], "sub_1"),
    ],
)
def test_what_is_no_good_is_refused_with_the_reason_and_nothing_is_made(
    arguments: list[str], says: str
) -> None:
    with pytest.raises(CommandError, match=says):
        endpoints("add", *arguments)
    assert not Endpoint.objects.exists()
    assert not Subscriber.objects.exists()


def test_one_is_paused_and_resumed_and_challenged(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    for change, state in [("pause", "paused"), ("resume", "active"), ("verify", "unverified")]:
        assert endpoints(change, endpoint.pk) == f"state: {state}\n"
        endpoint.refresh_from_db()
        assert endpoint.state == state


def test_a_secret_is_rotated_and_those_before_expire(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    said = endpoints("rotate-secret", endpoint.pk)
    newest = SigningSecret.objects.get(expires_at=None)
    assert said == f"secret: {encryption.decrypt(newest.ciphertext)}\n"
    assert SigningSecret.objects.live().count() == 2
    assert endpoints("expire-secrets", endpoint.pk) == "expired: 1\n"
    assert list(SigningSecret.objects.live()) == [newest]
    said = endpoints("rotate-secret", endpoint.pk, "--kind", "ed25519")
    assert said.startswith("public key: whpk_")


def test_nothing_is_changed_of_one_that_is_not_there_or_a_feed(subscriber: Subscriber) -> None:
    feed = Feed.objects.open(subscriber)
    for one in (feed.pk, "ep_" + "0" * 32):
        with pytest.raises(CommandError, match="no endpoint"):
            endpoints("pause", one)
    feed.refresh_from_db()
    assert feed.state == "feed"


def test_the_list_tells_how_each_is_and_what_it_asks_for(make_endpoint: MakeEndpoint) -> None:
    paused, active = make_endpoint("invoice.*", state="paused"), make_endpoint()
    make_endpoint(state="deleted")
    Subscriber.objects.update(name="Shah [/red]")
    listed = endpoints("list")
    assert listed.index(active.pk) < listed.index(paused.pk)
    assert "Shah [/red]" in " ".join(listed.split())
    assert len(re.findall("ep_", listed)) == 2
    assert "invoice" in endpoints("list", "--state", "paused", "--subscriber", paused.subscriber_id)
    assert "active" not in endpoints("list", "--state", "paused")
    assert len(re.findall("ep_", endpoints("list", "--limit", "1"))) == 1
