from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from subscriptions.authentication import Authentication, InvalidAuthentication, read, stored
from tests.webhooks.sending.certificates import Authority
from webhooks.addresses import AddressPolicy

POLICY = AddressPolicy()
OAUTH2 = {
    "kind": "oauth2",
    "token_url": "https://login.example.com/token",
    "client_id": "angarium",
    "client_secret": "open sesame",
}


def mtls(authority: Authority, **options: bool) -> dict[str, str]:
    pair = authority.certificate("us.example", **options)
    return {"kind": "mtls", "certificate": pair.chain, "key": pair.key}


@pytest.mark.parametrize(
    ("given", "headers"),
    [
        ({"kind": "none"}, {}),
        # RFC 7617 2 and 2.1
        (
            {"kind": "basic", "user": "Aladdin", "password": "open sesame"},
            {"authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},
        ),
        (
            {"kind": "basic", "user": "test", "password": "123£"},
            {"authorization": "Basic dGVzdDoxMjPCow=="},
        ),
        ({"kind": "bearer", "token": "1|abc"}, {"authorization": "Bearer 1|abc"}),
        ({"kind": "header", "name": "X-Api-Key", "value": "k"}, {"X-Api-Key": "k"}),
        (OAUTH2, {}),
    ],
)
def test_each_kind_is_sent_as_it_is_meant(given: dict[str, str], headers: dict[str, str]) -> None:
    assert read(given, POLICY).to_send().headers == headers


def test_a_certificate_and_its_key_are_taken_together(authority: Authority) -> None:
    given = mtls(authority)
    certificate = read(given, POLICY).to_send().certificate
    assert certificate is not None
    assert (certificate.chain, certificate.key) == (given["certificate"], given["key"])


def test_a_token_is_asked_for_as_is_said() -> None:
    oauth2 = read({**OAUTH2, "scope": "a b"}, POLICY).to_send().oauth2
    assert oauth2 is not None
    assert (oauth2.token_url, oauth2.client_id) == (OAUTH2["token_url"], "angarium")
    assert (oauth2.client_secret, oauth2.scope) == ("open sesame", "a b")


def everything(authority: Authority) -> list[Authentication]:
    return [
        read(given, POLICY)
        for given in (
            {"kind": "none"},
            {"kind": "basic", "user": "us", "password": "open sesame"},
            {"kind": "bearer", "token": "open-sesame"},
            {"kind": "header", "name": "X-Key", "value": "open sesame"},
            mtls(authority),
            OAUTH2,
        )
    ]


def test_what_is_stored_is_read_again(authority: Authority) -> None:
    for one in everything(authority):
        assert stored(one.as_stored()) == one


def test_no_secret_is_shown_or_in_a_repr(authority: Authority) -> None:
    for one in everything(authority):
        for text in (str(one.shown()), repr(one), repr(one.to_send())):
            assert "sesame" not in text
            assert "PRIVATE" not in text


def test_of_a_certificate_its_subject_and_its_end_are_shown(authority: Authority) -> None:
    shown = read(mtls(authority), POLICY).shown()
    assert shown.keys() == {"kind", "subject", "expires_at"}
    assert shown["subject"] == "CN=us.example"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "kind"),
        ({"kind": "digest"}, "kind"),
        ({"kind": None}, "kind"),
        ({"kind": []}, "kind"),
        ({"kind": "none", "user": "us"}, "user"),
        ({"kind": "basic", "user": "us"}, "password"),
        ({"kind": "basic", "user": "us", "password": ""}, "password"),
        ({"kind": "basic", "user": "us", "password": 5}, "password"),
        ({"kind": "basic", "user": "us", "password": None}, "password"),
        ({"kind": "basic", "user": "us", "password": "a\nb"}, "password"),
        ({"kind": "basic", "user": "u:s", "password": "x"}, "user"),
        ({"kind": "basic", "user": "u\0s", "password": "x"}, "user"),
        ({"kind": "bearer", "token": "a b"}, "token"),
        ({"kind": "bearer", "token": "a\r\nb: c"}, "token"),
        ({"kind": "bearer", "token": "é"}, "token"),
        ({"kind": "bearer", "token": "x" * 4097}, "token"),
        ({"kind": "header", "name": "Host", "value": "x"}, "name"),
        ({"kind": "header", "name": "webhook-id", "value": "x"}, "name"),
        ({"kind": "header", "name": "X-Key", "value": "a\nb"}, "name"),
        ({**OAUTH2, "token_url": "https://10.0.0.1/"}, "token_url"),
        ({**OAUTH2, "token_url": "http://example.com/"}, "token_url"),
        ({**OAUTH2, "client_id": "é"}, "client_id"),
        ({**OAUTH2, "client_secret": "a\nb"}, "client_secret"),
        ({**OAUTH2, "scope": "a  b"}, "scope"),
        ({**OAUTH2, "scope": 'a"b'}, "scope"),
        ({**OAUTH2, "audience": "x"}, "audience"),
    ],
)
def test_what_is_wrong_is_said_of_the_field(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidAuthentication) as refusal:
        read(given, POLICY)
    assert refusal.value.field == field


def test_a_certificate_must_be_one_and_live_and_fit_its_key(authority: Authority) -> None:
    good, other = mtls(authority), mtls(authority)
    locked = serialization.load_pem_private_key(good["key"].encode(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    for changes, field, words in [
        ({"certificate": "nonsense"}, "certificate", "in PEM"),
        ({"certificate": "é"}, "certificate", "in PEM"),
        ({"certificate": good["key"]}, "certificate", "in PEM"),
        ({"certificate": good["certificate"] * 60}, "certificate", "Shorten"),
        (mtls(authority, expired=True), "certificate", "has expired"),
        ({"key": "nonsense"}, "key", "in PEM"),
        ({"key": good["certificate"]}, "key", "in PEM"),
        ({"key": other["key"]}, "key", "does not belong"),
        ({"key": locked.decode()}, "key", "without a password"),
        (_pair(authority, weak), "certificate", "OpenSSL refuses it: ee key too small"),
    ]:
        with pytest.raises(InvalidAuthentication, match=words) as refusal:
            read({**good, **changes}, POLICY)
        assert refusal.value.field == field
        assert "PRIVATE" not in str(refusal.value).replace("BEGIN PRIVATE KEY", "")


def _pair(authority: Authority, key: rsa.RSAPrivateKey) -> dict[str, str]:
    pair = authority.certificate("us.example", key=key)
    return {"certificate": pair.chain, "key": pair.key}
