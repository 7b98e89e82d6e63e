import base64
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from webhooks.keys import InvalidSecret, Kind, generate_secret, signing_key
from webhooks.signing import (
    InvalidMessageId,
    MissingHeader,
    SignatureMismatch,
    TimestampOutOfTolerance,
    VerificationFailed,
    headers,
    sign,
    verify,
)

NOW = 1_700_000_000
SECRET, OTHER = generate_secret(), generate_secret()
ED25519 = generate_secret(Kind.ED25519)

PUBLIC = signing_key(ED25519).public

ids = st.text("abcXYZ019_-", min_size=1, max_size=60)
bodies = st.binary(max_size=200)


def test_the_signature_is_that_of_the_specification_s_example() -> None:
    # Standard Webhooks, "Signature scheme", and the test vector of its reference libraries.
    signature = sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(ids, bodies)
def test_what_is_signed_verifies(message_id: str, body: bytes) -> None:
    signed = headers(message_id, NOW, body, [SECRET])
    verified = verify(signed, body, SECRET, now=NOW)
    assert (verified.id, verified.timestamp, verified.body) == (message_id, NOW, body)


@given(ids, bodies, st.data())
def test_whatever_is_changed_the_signature_fits_no_longer(
    message_id: str, body: bytes, data: st.DataObject
) -> None:
    signed = headers(message_id, NOW, body, [SECRET])
    part = data.draw(st.sampled_from(["id", "timestamp", "body"]))
    if part == "body":
        changed = data.draw(bodies)
        assume(changed != body)
        body = changed
    else:
        changed_text = data.draw(ids if part == "id" else st.just(str(NOW + 1)))
        assume(changed_text != signed[f"webhook-{part}"])
        signed[f"webhook-{part}"] = changed_text
    with pytest.raises(SignatureMismatch):
        verify(signed, body, SECRET, now=NOW)


@given(
    st.dictionaries(
        st.sampled_from(["webhook-id", "Webhook-Timestamp", "webhook-signature", "other"]),
        st.text(max_size=50) | st.integers() | st.none(),
    ),
    bodies,
)
def test_no_headers_at_all_make_it_fail_in_any_other_way(
    given_headers: dict[str, str], body: bytes
) -> None:
    with pytest.raises(VerificationFailed):
        verify(given_headers, body, SECRET, now=NOW)


@given(bodies)
def test_the_reference_library_verifies_what_we_sign(body: bytes) -> None:
    timestamp = int(datetime.now(UTC).timestamp())
    text = b'{"a":"%b"}' % base64.b64encode(body)
    Webhook(SECRET).verify(text, headers("evt_1", timestamp, text, [OTHER, SECRET]))


@given(st.text("abc {}:,", max_size=50))
def test_we_verify_what_the_reference_library_signs(body: str) -> None:
    moment = datetime.fromtimestamp(NOW, UTC)
    signed = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(NOW),
        "webhook-signature": Webhook(SECRET).sign("msg_1", moment, body),
    }
    assert verify(signed, body.encode(), SECRET, now=NOW).id == "msg_1"


class TestSecrets:
    @pytest.mark.parametrize("secret", ["", "password", PUBLIC], ids=["none", "other", "public"])
    def test_that_are_none_are_refused(self, secret: str) -> None:
        with pytest.raises(InvalidSecret):
            sign("evt_1", NOW, b"", [secret])

    def test_sign_side_by_side_during_a_rotation(self) -> None:
        signed = headers("evt_1", NOW, b"body", [SECRET, OTHER])
        assert signed["webhook-signature"].count("v1,") == 2
        for accepted in (SECRET, OTHER, [generate_secret(), OTHER]):
            assert verify(signed, b"body", accepted, now=NOW).id == "evt_1"
        with pytest.raises(SignatureMismatch):
            verify(signed, b"body", generate_secret(), now=NOW)

    def test_of_both_kinds_sign_side_by_side(self) -> None:
        signed = headers("evt_1", NOW, b"body", [ED25519, SECRET])
        versions = [one.partition(",")[0] for one in signed["webhook-signature"].split(" ")]
        assert versions == ["v1a", "v1"]
        for accepted in (SECRET, PUBLIC, [OTHER, PUBLIC], [PUBLIC, OTHER]):
            assert verify(signed, b"body", accepted, now=NOW).id == "evt_1"
        with pytest.raises(SignatureMismatch):
            verify(signed, b"other body", [SECRET, PUBLIC], now=NOW)


class TestMessageIds:
    @pytest.mark.parametrize("message_id", ["", "a.b", "a b", "ä", "a\n", "x" * 256])
    def test_that_could_shift_what_is_signed_are_refused_on_both_sides(
        self, message_id: str
    ) -> None:
        with pytest.raises(InvalidMessageId):
            sign(message_id, NOW, b"", [SECRET])
        signed = {**headers("evt_1", NOW, b"", [SECRET]), "webhook-id": message_id}
        with pytest.raises(MissingHeader):
            verify(signed, b"", SECRET, now=NOW)

    def test_cannot_take_a_stop_from_the_timestamp(self) -> None:
        # What is signed, "a.1700000000.5.x", could be taken for the id "a.1700000000", the
        # timestamp 5 and the body "x".
        signed = headers("a", NOW, b"5.x", [SECRET])
        forged = {**signed, "webhook-id": f"a.{NOW}", "webhook-timestamp": "5"}
        with pytest.raises(VerificationFailed):
            verify(forged, b"x", SECRET, now=5)


class TestTimestamps:
    @pytest.mark.parametrize("off", [-301, 301, -10_000_000, 10_000_000])
    def test_out_of_tolerance_are_refused_either_way(self, off: int) -> None:
        signed = headers("evt_1", NOW, b"", [SECRET])
        with pytest.raises(TimestampOutOfTolerance):
            verify(signed, b"", SECRET, now=NOW + off)

    @pytest.mark.parametrize("off", [-300, 0, 300])
    def test_within_tolerance_are_taken(self, off: int) -> None:
        assert verify(headers("evt_1", NOW, b"", [SECRET]), b"", SECRET, now=NOW + off)

    @pytest.mark.parametrize(
        "timestamp",
        [
            "",
            " 1700000000",
            "+1700000000",
            "1e9",
            "1.7e9",
            "-5",
            "\uff11\uff17" + "0" * 8,
            "9" * 13,
        ],
    )
    def test_that_are_not_plain_digits_are_refused(self, timestamp: str) -> None:
        signed = {**headers("evt_1", NOW, b"", [SECRET]), "webhook-timestamp": timestamp}
        with pytest.raises(MissingHeader):
            verify(signed, b"", SECRET, now=NOW)


class TestSignatures:
    def test_of_other_schemes_are_passed_over(self) -> None:
        signed = headers("evt_1", NOW, b"", [SECRET])
        signed["webhook-signature"] = f"v1a,abc v2,def {signed['webhook-signature']}"
        assert verify(signed, b"", SECRET, now=NOW)

    @pytest.mark.parametrize(
        "change", [lambda v: v.replace("v1,", "v1a,"), lambda v: v[3:], str.upper]
    )
    def test_of_another_scheme_or_form_do_not_count(self, change: object) -> None:
        signed = headers("evt_1", NOW, b"", [SECRET])
        signed["webhook-signature"] = change(signed["webhook-signature"])  # type: ignore[operator]
        with pytest.raises(SignatureMismatch):
            verify(signed, b"", SECRET, now=NOW)

    def test_are_looked_at_up_to_a_bound(self) -> None:
        signed = headers("evt_1", NOW, b"", [SECRET])
        signed["webhook-signature"] = "v1,x " * 1_000_000 + signed["webhook-signature"]
        with pytest.raises(SignatureMismatch):
            verify(signed, b"", SECRET, now=NOW)

    def test_count_whatever_the_case_of_the_header_names(self) -> None:
        signed = {name.title(): value for name, value in headers("e", NOW, b"", [SECRET]).items()}
        assert verify(signed, b"", SECRET, now=NOW)
