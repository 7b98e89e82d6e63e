import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.keys import (
    HmacKey,
    InvalidSecret,
    Kind,
    generate_secret,
    signing_key,
    verifying_key,
)

MESSAGE = b'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}'
HMAC, ED25519 = generate_secret(), generate_secret(Kind.ED25519)

of_both_kinds = pytest.mark.parametrize("secret", [HMAC, ED25519], ids=list(Kind))
contents = st.binary(max_size=200)


def encoded(prefix: str, raw: bytes) -> str:
    return prefix + base64.b64encode(raw).decode()


def receivers_half(secret: str) -> str:
    return signing_key(secret).public or secret


def verifies(key: str, content: bytes, *signatures: str) -> bool:
    pairs = [(version, text) for version, _, text in (one.partition(",") for one in signatures)]
    return verifying_key(key).verifies(content, pairs)


@pytest.mark.parametrize(
    ("secret", "signature"),
    [
        # The test vector of the specification's reference libraries.
        (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        # That of its Go library.
        (
            "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=",
            "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFi"
            "L8Ag==",
        ),
        # That of Svix's server, where the public key follows the private one.
        (
            "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMF"
            "s6Kvg==",
            "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7"
            "TBAg==",
        ),
    ],
)
def test_signatures_are_those_of_other_implementations(secret: str, signature: str) -> None:
    assert signing_key(secret).sign(MESSAGE) == signature
    assert verifies(receivers_half(secret), MESSAGE, signature)


def test_the_public_key_is_that_of_another_implementation() -> None:
    secret = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc="
    assert signing_key(secret).public == "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="


@of_both_kinds
class TestASignature:
    @given(content=contents)
    def test_verifies_with_the_receivers_half(self, secret: str, content: bytes) -> None:
        assert verifies(receivers_half(secret), content, signing_key(secret).sign(content))

    @given(content=contents, data=st.data())
    def test_with_any_bit_flipped_fits_no_longer(
        self, secret: str, content: bytes, data: st.DataObject
    ) -> None:
        version, _, text = signing_key(secret).sign(content).partition(",")
        raw = bytearray(base64.b64decode(text))
        bit = data.draw(st.integers(0, 8 * len(raw) - 1))
        raw[bit // 8] ^= 1 << bit % 8
        assert not verifies(receivers_half(secret), content, encoded(f"{version},", bytes(raw)))

    @given(content=st.binary(min_size=1, max_size=200), data=st.data())
    def test_fits_no_content_with_a_bit_flipped(
        self, secret: str, content: bytes, data: st.DataObject
    ) -> None:
        flipped = bytearray(content)
        bit = data.draw(st.integers(0, 8 * len(content) - 1))
        flipped[bit // 8] ^= 1 << bit % 8
        signature = signing_key(secret).sign(content)
        assert not verifies(receivers_half(secret), bytes(flipped), signature)

    @given(content=contents, data=st.data())
    def test_with_any_character_changed_fits_no_longer(
        self, secret: str, content: bytes, data: st.DataObject
    ) -> None:
        signature = signing_key(secret).sign(content)
        place = data.draw(st.integers(0, len(signature) - 1))
        other = data.draw(
            st.characters(codec="ascii").filter(lambda character: character != signature[place])
        )
        changed = signature[:place] + other + signature[place + 1 :]
        assert not verifies(receivers_half(secret), content, changed)

    def test_of_another_key_does_not_fit(self, secret: str) -> None:
        kind = Kind.HMAC if secret is HMAC else Kind.ED25519
        assert not verifies(
            receivers_half(generate_secret(kind)), MESSAGE, signing_key(secret).sign(MESSAGE)
        )

    def test_is_found_among_others(self, secret: str) -> None:
        signature = signing_key(secret).sign(MESSAGE)
        others = ["v1,x", "v1a,x", "v2,x", "", signature[:-1], signature.upper(), "v1a,é"]
        assert not verifies(receivers_half(secret), MESSAGE, *others)
        assert verifies(receivers_half(secret), MESSAGE, *others, signature, *others)


def test_the_same_signature_in_other_base64_does_not_fit() -> None:
    signature = signing_key(ED25519).sign(MESSAGE)
    last = signature[-3]
    assert last in "AQgw"  # four of its six bits are no part of the signature, and are 0
    for other in (chr(ord(last) + 1) + "==", last + "=", last, last + "==\n", last + "===="):
        assert not verifies(receivers_half(ED25519), MESSAGE, signature[:-3] + other)
    assert verifies(receivers_half(ED25519), MESSAGE, signature)


def test_a_public_key_is_no_secret_to_sign_with() -> None:
    # Who took it for the key of an HMAC could sign with what everybody may know.
    public = signing_key(ED25519).public
    raw = base64.b64decode(public.removeprefix("whpk_"))
    for key in (public.encode(), raw):
        assert not verifies(public, MESSAGE, HmacKey(key).sign(MESSAGE))
    with pytest.raises(InvalidSecret):
        signing_key(public)


def test_a_private_key_is_not_for_receivers() -> None:
    with pytest.raises(InvalidSecret, match="whpk_"):
        verifying_key(ED25519)


@pytest.mark.parametrize("kind", Kind)
def test_secrets_are_random(kind: Kind) -> None:
    assert generate_secret(kind) != generate_secret(kind)


@pytest.mark.parametrize("size", [24, 64])
def test_a_shared_secret_may_have_24_to_64_bytes(size: int) -> None:
    assert signing_key(encoded("whsec_", b"x" * size)) == HmacKey(b"x" * size)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_!!!!",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        encoded("whsec_", b"x" * 23),
        encoded("whsec_", b"x" * 65),
        encoded("whsec_ä", b"x" * 32),
        encoded("whsec_\ud800", b"x" * 32),
        encoded("WHSEC_", b"x" * 32),
        "whsk_",
        encoded("whsk_", b"x" * 31),
        encoded("whsk_", b"x" * 33),
        # A public key that is not the private one's.
        encoded("whsk_", b"x" * 64),
        encoded("whpk_", b"x" * 31),
    ],
)
@pytest.mark.parametrize("read", [signing_key, verifying_key])
def test_what_is_no_key_is_refused_and_not_repeated(read: object, secret: str) -> None:
    with pytest.raises(InvalidSecret) as refused:
        read(secret)  # type: ignore[operator]
    rest = secret.partition("_")[2]
    assert not rest or rest not in str(refused.value)


@of_both_kinds
def test_no_repr_shows_a_secret(secret: str) -> None:
    raw = base64.b64decode(secret.partition("_")[2])
    shown = f"{secret!r} {[secret]} {signing_key(secret)!r}"
    for hidden in (secret, str(raw), raw.hex()):
        assert hidden not in shown
