import hashlib
import hmac
import time

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.signature import Clock, SignatureVerifier

from webhooks import profiles, signing
from webhooks.keys import HmacKey, InvalidSecret, Kind, generate_secret, signing_key
from webhooks.profiles import Profile, key_of, signs_with

NOW = 1_700_000_000
BODY = b'{"type":"invoice.paid","timestamp":"2026-07-01T12:00:00Z","data":{"payer":"\xc3\x85sa"}}'
OLD, NEW = "the one they have known for years", generate_secret()

STYLES = [Profile.GITHUB, Profile.STRIPE, Profile.SLACK]
in_every_style = pytest.mark.parametrize("style", STYLES)

texts = st.text(st.characters(codec="utf-8"), max_size=200).map(str.encode)


class AtThatTime(Clock):
    def now(self) -> float:
        return NOW


def slack_accepts(headers: dict[str, str], body: bytes, secret: str) -> bool:
    return SignatureVerifier(secret, AtThatTime()).is_valid_request(body, headers)


def stripe_accepts(headers: dict[str, str], body: bytes, secret: str) -> bool:
    try:
        stripe.WebhookSignature.verify_header(body, headers["stripe-signature"], secret)
    except stripe.SignatureVerificationError:
        return False
    return True


def github_accepts(headers: dict[str, str], body: bytes, secret: str) -> bool:
    # As in GitHub's documentation, "Validating webhook deliveries", its Python example.
    expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, headers["x-hub-signature-256"])


ACCEPTS = {
    Profile.GITHUB: github_accepts,
    Profile.STRIPE: stripe_accepts,
    Profile.SLACK: slack_accepts,
}


def test_the_signature_in_github_s_style_is_that_of_its_documentation() -> None:
    signed = profiles.headers(
        Profile.GITHUB, "evt_1", NOW, b"Hello, World!", ["It's a Secret to Everybody"]
    )
    assert signed["x-hub-signature-256"] == (
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    )


def test_the_signature_in_slack_s_style_is_that_of_its_documentation() -> None:
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
        b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
        b"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
        b"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    secret = "8f742231b10e8888abcd99yyyzzz85a5"
    signed = profiles.headers(Profile.SLACK, "evt_1", 1531420618, body, [secret])
    assert signed["x-slack-signature"] == (
        "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    )


def test_stripe_s_library_takes_the_event() -> None:
    now = int(time.time())
    signed = profiles.headers(Profile.STRIPE, "evt_1", now, BODY, [NEW])
    event = stripe.Webhook.construct_event(BODY, signed["stripe-signature"], NEW)
    assert event["type"] == "invoice.paid"


@in_every_style
@given(body=texts, text=st.from_regex(profiles.TEXT, fullmatch=True))
def test_the_other_sender_s_library_accepts_what_is_signed_with_any_secret(
    style: Profile, body: bytes, text: str
) -> None:
    for secret in (text, NEW):
        signed = profiles.headers(style, "evt_1", NOW, body, [secret])
        assert ACCEPTS[style](signed, body, secret)


@in_every_style
def test_it_does_not_accept_another_body_or_another_secret(style: Profile) -> None:
    signed = profiles.headers(style, "evt_1", NOW, BODY, [NEW])
    assert not ACCEPTS[style](signed, BODY + b" ", NEW)
    assert not ACCEPTS[style](signed, BODY, OLD)


@pytest.mark.parametrize("style", [Profile.STRIPE, Profile.SLACK])
def test_it_does_not_accept_another_timestamp(style: Profile) -> None:
    signed = profiles.headers(style, "evt_1", NOW, BODY, [NEW])
    changed = {name: value.replace(str(NOW), str(NOW + 1)) for name, value in signed.items()}
    assert not ACCEPTS[style](changed, BODY, NEW)


class TestDuringARotation:
    def test_both_secrets_sign_in_stripe_s_style(self) -> None:
        signed = profiles.headers(Profile.STRIPE, "evt_1", NOW, BODY, [NEW, OLD])
        assert signed["stripe-signature"].count("v1=") == 2
        assert stripe_accepts(signed, BODY, NEW)
        assert stripe_accepts(signed, BODY, OLD)

    @pytest.mark.parametrize("style", [Profile.GITHUB, Profile.SLACK])
    def test_the_older_secret_signs_where_there_is_room_for_one(self, style: Profile) -> None:
        signed = profiles.headers(style, "evt_1", NOW, BODY, [NEW, OLD])
        assert ACCEPTS[style](signed, BODY, OLD)
        assert not ACCEPTS[style](signed, BODY, NEW)


class TestStandardWebhooks:
    def test_alone_is_the_default_profile(self) -> None:
        signed = profiles.headers(Profile.STANDARD, "evt_1", NOW, BODY, [NEW])
        assert signed == signing.headers("evt_1", NOW, BODY, [NEW])

    @in_every_style
    def test_signs_beside_every_other(self, style: Profile) -> None:
        signed = profiles.headers(style, "evt_1", NOW, BODY, [NEW, OLD])
        assert signing.verify(signed, BODY, NEW, now=NOW).id == "evt_1"
        assert signed["webhook-signature"].count("v1,") == 1

    @in_every_style
    def test_has_no_signature_where_no_secret_is_of_its_form(self, style: Profile) -> None:
        signed = profiles.headers(style, "evt_1", NOW, BODY, [OLD])
        assert (signed["webhook-id"], signed["webhook-timestamp"]) == ("evt_1", str(NOW))
        assert "webhook-signature" not in signed


def test_the_headers_of_the_profiles_are_known() -> None:
    plain = profiles.headers(Profile.STANDARD, "evt_1", NOW, BODY, [NEW])
    added = [
        set(profiles.headers(style, "evt_1", NOW, BODY, [NEW])) - set(plain) for style in STYLES
    ]
    assert set.union(*added) == profiles.HEADERS


class TestSecrets:
    @in_every_style
    @pytest.mark.parametrize(
        "secret",
        [
            pytest.param(NEW, id="a standard one"),
            pytest.param(OLD, id="their own"),
            "x" * 16,
            "x" * 255,
            "It's a Secret to Everybody",
            "whsec_not/base64!",
        ],
    )
    def test_may_be_any_text_of_printable_ascii(self, style: Profile, secret: str) -> None:
        assert key_of(style, secret) == HmacKey(secret.encode())

    @in_every_style
    @pytest.mark.parametrize(
        "secret",
        [
            "",
            "x" * 15,
            "x" * 256,
            " leading and trailing ",
            "a new line\nwithin it",
            "not of ASCII: \N{LATIN SMALL LETTER E WITH ACUTE}",
        ],
    )
    def test_of_another_form_are_refused_and_not_repeated(
        self, style: Profile, secret: str
    ) -> None:
        with pytest.raises(InvalidSecret) as refused:
            key_of(style, secret)
        assert not secret or secret not in str(refused.value)

    @in_every_style
    def test_of_ed25519_are_refused_with_the_reason(self, style: Profile) -> None:
        private = generate_secret(Kind.ED25519)
        for secret in (private, signing_key(private).public):
            with pytest.raises(InvalidSecret, match="Standard Webhooks profile"):
                key_of(style, secret)
        assert not signs_with(style, Kind.ED25519)
        assert signs_with(style, Kind.HMAC)

    def test_are_those_of_the_specification_in_the_default_profile(self) -> None:
        assert key_of(Profile.STANDARD, NEW) == signing_key(NEW)
        with pytest.raises(InvalidSecret):
            key_of(Profile.STANDARD, OLD)
        assert all(signs_with(Profile.STANDARD, kind) for kind in Kind)
