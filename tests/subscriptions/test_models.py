import secrets
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from subscriptions import encryption
from subscriptions.models import Endpoint, EventType, SigningSecret, Subscriber, Subscription
from tests.conftest import Configure, MakeEndpoint
from webhooks.keys import InvalidSecret, Kind, generate_secret, signing_key

pytestmark = pytest.mark.django_db


def test_the_database_refuses_a_state_it_does_not_know(make_endpoint: MakeEndpoint) -> None:
    with pytest.raises(IntegrityError, match="endpoint_state_is_known"):
        make_endpoint(state="asleep")


@pytest.mark.parametrize("pattern", ["", "invoice.", "*.paid", "invoice.*.late", "a b", "**"])
def test_the_database_refuses_a_pattern_that_is_not_well_formed(
    make_endpoint: MakeEndpoint, pattern: str
) -> None:
    with pytest.raises(IntegrityError, match="subscription_pattern_is_well_formed"):
        make_endpoint(pattern)


@pytest.mark.parametrize("pattern", ["invoice.paid", "invoice.*", "*", "a-b.c_d.*"])
def test_a_well_formed_pattern_passes_python_and_the_database(
    make_endpoint: MakeEndpoint, pattern: str
) -> None:
    endpoint = make_endpoint(pattern)
    endpoint.subscriptions.get().full_clean()


def test_an_endpoint_asks_for_the_same_once(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint("invoice.*")
    for asked in ({"channels": ["eu"]}, {"filter": "a"}, {"channels": ["eu"], "filter": "a"}):
        Subscription(endpoint=endpoint, pattern="invoice.*", **asked).full_clean()
        Subscription.objects.create(endpoint=endpoint, pattern="invoice.*", **asked)
        again = Subscription(endpoint=endpoint, pattern="invoice.*", **asked)
        with pytest.raises(ValidationError, match="such a subscription already"):
            again.full_clean()
        with (
            pytest.raises(IntegrityError, match="subscription_wish_once_per_endpoint"),
            transaction.atomic(),
        ):
            again.save()


def test_the_largest_subscription_there_can_be_is_stored(make_endpoint: MakeEndpoint) -> None:
    text = secrets.token_hex(1024)
    largest = Subscription(
        endpoint=make_endpoint(),
        pattern=text[:128],
        channels=sorted(text[n * 128 : n * 128 + 128] for n in range(10)),
        filter=f"'{text[:1022]}'",
    )
    largest.full_clean()
    largest.save()


@pytest.mark.parametrize(
    "wrong", [{"filter": "a["}, {"channels": ["a b"]}, {"channels": [str(n) for n in range(11)]}]
)
def test_channels_and_a_filter_are_checked(
    make_endpoint: MakeEndpoint, wrong: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError) as refused:
        Subscription(endpoint=make_endpoint("a"), pattern="b", **wrong).full_clean()
    assert list(refused.value.error_dict) == list(wrong)


@pytest.mark.parametrize("name", ["", "invoice.*", "Rechnung bezahlt", "a..b", "a\n"])
def test_the_catalogue_takes_dotted_words_only(name: str) -> None:
    with pytest.raises(ValidationError):
        EventType(name=name).full_clean()
    with pytest.raises(IntegrityError, match="event_type_name_is_dotted_words"):
        EventType.objects.create(name=name)


def test_many_subscribers_may_have_no_external_id_and_no_two_the_same() -> None:
    Subscriber.objects.create(name="one")
    Subscriber.objects.create(name="two")
    Subscriber.objects.create(name="three", external_id="42")
    with pytest.raises(IntegrityError), transaction.atomic():
        Subscriber.objects.create(name="four", external_id="42")


@pytest.mark.parametrize(
    "url", ["ftp://example.com/", "https://10.0.0.1/", "https://user:pw@example.com/", "nonsense"]
)
def test_an_endpoint_url_where_no_delivery_may_go_is_refused(
    subscriber: Subscriber, url: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        Endpoint(subscriber=subscriber, url=url).full_clean()
    assert list(refused.value.error_dict) == ["url"]


def test_a_new_signing_secret_overlaps_with_the_one_before(
    make_endpoint: MakeEndpoint, configure: Configure
) -> None:
    configure(SECRET_OVERLAP=3600)
    endpoint = make_endpoint()
    first = SigningSecret.objects.get()
    second = SigningSecret.objects.issue(endpoint)
    first.refresh_from_db()
    assert second.expires_at is None
    assert first.expires_at is not None
    assert timedelta(minutes=59) < first.expires_at - timezone.now() < timedelta(minutes=61)
    assert list(SigningSecret.objects.live()) == [second, first]


def test_a_third_signing_secret_does_not_prolong_the_first(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    first = SigningSecret.objects.get()
    SigningSecret.objects.issue(endpoint)
    first.refresh_from_db()
    expiry = first.expires_at
    SigningSecret.objects.issue(endpoint)
    first.refresh_from_db()
    assert first.expires_at == expiry


def test_a_signing_secret_of_ones_own_is_taken_if_it_is_one(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert SigningSecret.objects.issue(endpoint, own).reveal() == own
    with pytest.raises(InvalidSecret):
        SigningSecret.objects.issue(endpoint, "password")
    assert SigningSecret.objects.filter(expires_at=None).count() == 1


@pytest.mark.parametrize("before", Kind)
@pytest.mark.parametrize("after", [*Kind, None])
def test_a_signing_secret_is_of_the_kind_of_the_one_before_unless_told(
    make_endpoint: MakeEndpoint, before: Kind, after: Kind | None
) -> None:
    endpoint = make_endpoint()
    SigningSecret.objects.issue(endpoint, kind=before)
    assert SigningSecret.objects.issue(endpoint, kind=after).kind is (after or before)
    assert SigningSecret.objects.live().count() == 3


def test_of_an_ed25519_secret_the_public_key_alone_is_shown(make_endpoint: MakeEndpoint) -> None:
    own = generate_secret(Kind.ED25519)
    secret = SigningSecret.objects.issue(make_endpoint(), own)
    assert encryption.decrypt(secret.ciphertext) == own
    assert (secret.kind, secret.public_key) == (Kind.ED25519, signing_key(own).public)
    assert secret.reveal() is None


def test_an_endpoint_has_one_signing_secret_that_does_not_expire(
    make_endpoint: MakeEndpoint,
) -> None:
    endpoint = make_endpoint()
    with pytest.raises(IntegrityError, match="one_signing_secret_per_endpoint_does_not_expire"):
        SigningSecret.objects.create(endpoint=endpoint, ciphertext="x")


def test_replaced_signing_secrets_are_expired_at_once(make_endpoint: MakeEndpoint) -> None:
    endpoint, other = make_endpoint(), make_endpoint()
    SigningSecret.objects.issue(other)
    for _ in range(2):
        newest = SigningSecret.objects.issue(endpoint)
    assert SigningSecret.objects.expire_replaced(endpoint) == 2
    assert list(endpoint.signing_secrets.all()) == [newest]
    assert other.signing_secrets.count() == 2


def test_expired_signing_secrets_are_dropped_a_few_at_a_time(
    make_endpoint: MakeEndpoint, configure: Configure
) -> None:
    configure(SECRET_OVERLAP=0)
    endpoint = make_endpoint()
    for _ in range(3):
        newest = SigningSecret.objects.issue(endpoint)
    configure(SECRET_OVERLAP=3600)
    overlapping = SigningSecret.objects.issue(other := make_endpoint())
    dropped = [SigningSecret.objects.drop_expired(2) for _ in range(3)]
    assert dropped == [2, 1, 0]
    assert list(endpoint.signing_secrets.all()) == [newest]
    assert overlapping in other.signing_secrets.all()
    assert other.signing_secrets.count() == 2


def test_a_signing_secret_is_stored_encrypted_and_never_shown_by_accident(
    make_endpoint: MakeEndpoint,
) -> None:
    make_endpoint()
    secret = SigningSecret.objects.get()
    plaintext = secret.reveal()
    assert plaintext is not None
    assert plaintext.startswith("whsec_")
    assert plaintext not in secret.ciphertext
    assert plaintext not in f"{[plaintext]} {plaintext!r}"
    assert plaintext not in f"{secret!r} {secret} {secret.__dict__}"


def test_resuming_an_endpoint_forgets_why_it_was_disabled(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint(state=Endpoint.State.DISABLED, disabled_reason="It answered 410.")
    endpoint.resume()
    endpoint.refresh_from_db()
    assert (endpoint.state, endpoint.disabled_reason) == ("active", "")


def test_a_deleted_endpoint_keeps_its_row_and_loses_its_secrets(
    make_endpoint: MakeEndpoint,
) -> None:
    endpoint = make_endpoint()
    endpoint.delete_for_good()
    assert not SigningSecret.objects.exists()
    assert not Subscription.objects.exists()
    assert not Endpoint.objects.existing().exists()
    assert Endpoint.objects.get().state == "deleted"
