import gzip
import json
from dataclasses import replace
from traceback import TracebackException
from urllib.parse import urlsplit

import pytest
from django.urls import resolve

from deliveries import plain_lane
from deliveries.models import Attempt, DeadLetter
from deliveries.pipeline import Claim, claim
from deliveries.rendering import Unrenderable, render
from subscriptions import encryption
from subscriptions.ids import from_uuid, to_uuid
from subscriptions.models import SigningSecret
from subscriptions.shapes import Payload, Shape
from tests.conftest import Configure, Queue
from tests.deliveries.conftest import MakeDelivery
from webhooks import signing
from webhooks.formats import Format
from webhooks.keys import Kind
from webhooks.profiles import HEADERS, Profile
from webhooks.sending.outcome import OutcomeKind

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


def test_the_standard_format_in_full_is_the_default(ours: Claim) -> None:
    request = render(ours, timestamp=NOW)
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body)["data"] == {"n": 1}


def test_a_thin_payload_has_a_link_by_which_the_api_gives_the_rest(
    ours: Claim, configure: Configure
) -> None:
    configure(PUBLIC_URL="https://webhooks.example.com/")
    event_id = from_uuid("evt", ours.events[0].id)
    request = render(replace(ours, shape=Shape(payload=Payload.THIN)), timestamp=NOW)
    link = f"https://webhooks.example.com/api/v1/events/{event_id}"
    assert json.loads(request.body)["data"] == {"id": event_id, "url": link}
    assert resolve(urlsplit(link).path).url_name == "event-detail"


def test_a_projection_is_what_the_expression_makes_of_the_data(ours: Claim) -> None:
    shape = Shape(payload=Payload.PROJECTION, projection="{number: n, other: m}")
    request = render(replace(ours, shape=shape), timestamp=NOW)
    assert json.loads(request.body)["data"] == {"number": 1, "other": None}


def test_a_projection_that_fails_is_an_outcome_that_says_so(ours: Claim) -> None:
    shape = Shape(payload=Payload.PROJECTION, projection="length(n)")
    with pytest.raises(Unrenderable) as failed:
        render(replace(ours, shape=shape), timestamp=NOW)
    assert "projection" in failed.value.outcome.error
    assert failed.value.outcome.kind is OutcomeKind.UNRENDERABLE


def test_cloudevents_carry_the_source_that_is_set(ours: Claim, configure: Configure) -> None:
    configure(EVENT_SOURCE="https://billing.example.com/")
    request = render(replace(ours, shape=Shape(Format.CLOUDEVENTS_BINARY)), timestamp=NOW)
    assert request.headers["ce-source"] == "https://billing.example.com/"
    assert request.headers["ce-id"] == request.headers["webhook-id"]


@pytest.mark.parametrize("format", Format)
@pytest.mark.parametrize("payload", [Payload.FULL, Payload.THIN])
def test_whatever_the_shape_the_signature_is_over_the_body_before_compression(
    ours: Claim, format: Format, payload: Payload
) -> None:
    plain = render(replace(ours, shape=Shape(format, payload)), timestamp=NOW)
    small = render(replace(ours, shape=Shape(format, payload, "", 0)), timestamp=NOW)
    if plain.body:
        assert small.headers["content-encoding"] == "gzip"
        assert gzip.decompress(small.body) == plain.body
    assert small.headers["webhook-signature"] == plain.headers["webhook-signature"]
    secret = SigningSecret.objects.get(public_key="").reveal()
    assert signing.verify(small.headers, plain.body, secret, now=NOW)


def test_a_body_is_compressed_only_above_the_size(ours: Claim) -> None:
    size = len(render(ours, timestamp=NOW).body)
    for limit, encoding in ((size, None), (size - 1, "gzip")):
        request = render(replace(ours, shape=Shape(gzip_above=limit)), timestamp=NOW)
        assert request.headers.get("content-encoding") == encoding


def test_endpoints_that_share_a_shape_share_the_bytes(ours: Claim) -> None:
    again = replace(ours, events=(replace(ours.events[0]),))
    assert again.events[0] is not ours.events[0]
    for shape in (Shape(), Shape(gzip_above=0), Shape(Format.CLOUDEVENTS)):
        one = render(replace(ours, shape=shape), timestamp=NOW)
        other = render(replace(again, shape=shape), timestamp=NOW + 60)
        assert one.body is other.body
        assert one.headers["webhook-signature"] != other.headers["webhook-signature"]


def test_a_batch_which_nobody_shares_is_not_kept_and_is_the_same_each_time(ours: Claim) -> None:
    for shape in (Shape(batched=True), Shape(batched=True, gzip_above=0)):
        batch = replace(ours, shape=shape)
        one, other = (render(batch, timestamp=now).body for now in (NOW, NOW + 60))
        assert one == other
        assert one is not other


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
