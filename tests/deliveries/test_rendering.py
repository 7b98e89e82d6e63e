from traceback import TracebackException

import pytest

from deliveries import plain_lane
from deliveries.models import Attempt, DeadLetter
from deliveries.pipeline import Claim, claim
from deliveries.rendering import Unrenderable, render
from subscriptions import encryption
from subscriptions.ids import to_uuid
from subscriptions.models import SigningSecret
from tests.conftest import Configure, Queue
from tests.deliveries.conftest import MakeDelivery
from webhooks import signing
from webhooks.keys import Kind
from webhooks.profiles import HEADERS, Profile

pytestmark = pytest.mark.django_db

NOW = 1_700_000_000


@pytest.fixture
def ours(make_delivery: MakeDelivery, queue: Queue) -> Claim:
    """A claim whose endpoint has a secret of each kind."""
    delivery = make_delivery()
    SigningSecret.objects.issue(delivery.endpoint, kind=Kind.ED25519)
    [ours] = claim([to_uuid(delivery.pk)])
    return ours


def plaintexts() -> list[str]:
    return [str(encryption.decrypt(one.ciphertext)) for one in SigningSecret.objects.all()]


def test_a_delivery_is_signed_with_every_live_secret_whatever_its_kind(ours: Claim) -> None:
    request = render(ours, timestamp=NOW)
    private, shared = SigningSecret.objects.all()
    for key in (private.public_key, shared.reveal()):
        assert signing.verify(request.headers, request.body, key, now=NOW)


@pytest.mark.parametrize(
    ("profile", "headers"),
    [
        (Profile.STANDARD, set()),
        (Profile.GITHUB, {"x-hub-signature-256"}),
        (Profile.STRIPE, {"stripe-signature"}),
        (Profile.SLACK, {"x-slack-request-timestamp", "x-slack-signature"}),
    ],
)
def test_a_delivery_is_signed_in_the_style_of_its_endpoint_s_profile(
    make_delivery: MakeDelivery, queue: Queue, profile: Profile, headers: set[str]
) -> None:
    delivery = make_delivery(endpoint={"signature_profile": profile})
    [ours] = claim([to_uuid(delivery.pk)])
    request = render(ours, timestamp=NOW)
    assert HEADERS & set(request.headers) == headers
    secret = SigningSecret.objects.get().reveal()
    assert secret is not None
    assert signing.verify(request.headers, request.body, secret, now=NOW)


def test_neither_a_claim_nor_its_request_shows_a_secret(ours: Claim) -> None:
    shown = f"{ours!r} {ours} {render(ours, timestamp=NOW)!r}"
    hidden = [*plaintexts(), *ours.secrets]
    assert len(hidden) == 4
    assert not [one for one in hidden if one in shown]
    assert "v1," not in shown


def test_where_signing_fails_no_local_variable_shows_a_secret(
    ours: Claim, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Unrenderable) as failed:
        render(ours, timestamp=None)  # type: ignore[arg-type]
    trace = TracebackException.from_exception(failed.value, capture_locals=True)
    shown = "".join(trace.format())
    assert "secrets = [<confidential>, <confidential>]" in shown
    assert "message_id = " in shown
    assert not [one for one in plaintexts() if one in shown + caplog.text]
    assert failed.value.outcome.error == "Rendering failed with TypeError."


def test_a_secret_that_cannot_be_decrypted_is_in_no_attempt_and_no_dead_letter(
    make_delivery: MakeDelivery, queue: Queue, configure: Configure
) -> None:
    delivery = make_delivery()
    ciphertext = SigningSecret.objects.get().ciphertext
    broken = ciphertext[:-10] + "A" * 10
    SigningSecret.objects.update(ciphertext=broken)
    configure(RETRY_SCHEDULE=[])
    plain_lane.deliver(to_uuid(delivery.pk))
    for error in (Attempt.objects.get().error, DeadLetter.objects.get().last_error):
        assert "ENCRYPTION_KEYS" in error
        assert broken not in error
