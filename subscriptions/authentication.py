"""How deliveries authenticate themselves towards an endpoint, beside their signature.

Each kind is a dataclass of texts. What it leaves out of its repr is secret: it is stored, sent, and
never shown.
"""

import re
import ssl
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from webhooks.addresses import AddressPolicy, InvalidEndpointUrl, parse_url
from webhooks.sending.credentials import ClientCertificate, ClientCredentials, Credentials
from webhooks.sending.exchange import load_certificate
from webhooks.sending.headers import InvalidHeader, check_custom_headers

MAX_TEXT = 4096
MAX_PEM = 32 * 1024

_NO_CONTROLS = re.compile(r"[^\x00-\x1f\x7f]*")
_VISIBLE_ASCII = re.compile(r"[!-~]+")
_PRINTABLE_ASCII = re.compile(r"[ -~]+")
# RFC 6749 3.3
_SCOPE = re.compile(r"(?:[!#-\[\]-~]+(?: [!#-\[\]-~]+)*)?")


class InvalidAuthentication(ValueError):
    """A field of an authentication is not as it must be; the message holds nothing secret."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Authentication(ABC):
    """One kind of it. The subclasses add their fields, each a text."""

    kind: ClassVar[str]
    max_length: ClassVar[int] = MAX_TEXT

    @abstractmethod
    def check(self, policy: AddressPolicy) -> None:
        """Raise InvalidAuthentication unless it can be used."""

    @abstractmethod
    def to_send(self) -> Credentials:
        """What is given to a sender."""

    def shown(self) -> dict[str, Any]:
        """What may be seen of it."""
        public = {one.name: getattr(self, one.name) for one in fields(self) if one.repr}
        return {"kind": self.kind, **public}

    def as_stored(self) -> dict[str, str]:
        """All of it, secrets included."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class NoAuthentication(Authentication):
    """The signature alone."""

    kind = "none"

    def check(self, policy: AddressPolicy) -> None:
        pass

    def to_send(self) -> Credentials:
        return Credentials()


@dataclass(frozen=True)
class BasicAuthentication(Authentication):
    """A user and a password (RFC 7617)."""

    kind = "basic"

    user: str
    password: str = field(repr=False)

    def check(self, policy: AddressPolicy) -> None:
        _match("user", self.user, _NO_CONTROLS, "Leave control characters out.")
        _match("password", self.password, _NO_CONTROLS, "Leave control characters out.")
        if ":" in self.user:
            raise InvalidAuthentication("user", "Leave the colon out: it ends the user's name.")

    def to_send(self) -> Credentials:
        pair = b64encode(f"{self.user}:{self.password}".encode()).decode()
        return Credentials({"authorization": f"Basic {pair}"}, (pair, self.password))


@dataclass(frozen=True)
class BearerAuthentication(Authentication):
    """A token that its bearer shows (RFC 6750)."""

    kind = "bearer"

    token: str = field(repr=False)

    def check(self, policy: AddressPolicy) -> None:
        _match("token", self.token, _VISIBLE_ASCII, "Use printable ASCII without spaces.")

    def to_send(self) -> Credentials:
        return Credentials({"authorization": f"Bearer {self.token}"}, (self.token,))


@dataclass(frozen=True)
class HeaderAuthentication(Authentication):
    """A header of the endpoint's own, as X-Api-Key."""

    kind = "header"

    name: str
    value: str = field(repr=False)

    def check(self, policy: AddressPolicy) -> None:
        try:
            check_custom_headers({self.name: self.value})
        except InvalidHeader as error:
            raise InvalidAuthentication("name", str(error)) from error

    def to_send(self) -> Credentials:
        return Credentials({self.name: self.value}, (self.value,))


@dataclass(frozen=True)
class MutualTLS(Authentication):
    """A client certificate, with those that vouch for it, and its key, in PEM."""

    kind = "mtls"
    max_length = MAX_PEM

    certificate: str = field(repr=False)
    key: str = field(repr=False)

    def check(self, policy: AddressPolicy) -> None:
        try:
            leaf = self._leaf()
            public_key, _ = leaf.public_key(), leaf.subject.rfc4514_string()
        except Exception as error:  # cryptography has a kind for each way to be unreadable
            raise InvalidAuthentication(
                "certificate", "Give certificates in PEM, from -----BEGIN CERTIFICATE----- on."
            ) from error
        if leaf.not_valid_after_utc <= datetime.now(UTC):
            raise InvalidAuthentication("certificate", "This certificate has expired.")
        try:
            key = serialization.load_pem_private_key(self.key.encode(), password=None)
        except TypeError as error:
            raise InvalidAuthentication(
                "key", "Give the key without a password: it is encrypted here."
            ) from error
        except Exception as error:
            raise InvalidAuthentication(
                "key", "Give a private key in PEM, from -----BEGIN PRIVATE KEY----- on."
            ) from error
        if key.public_key() != public_key:
            raise InvalidAuthentication("key", "This key does not belong to the certificate.")
        try:
            load_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), self._pair())
        except ssl.SSLError as error:
            reason = (error.reason or "it is not usable").replace("_", " ").lower()
            raise InvalidAuthentication("certificate", f"OpenSSL refuses it: {reason}.") from error

    def to_send(self) -> Credentials:
        return Credentials(certificate=self._pair())

    def shown(self) -> dict[str, Any]:
        leaf = self._leaf()
        return {
            **super().shown(),
            "subject": leaf.subject.rfc4514_string(),
            "expires_at": leaf.not_valid_after_utc.isoformat().replace("+00:00", "Z"),
        }

    def _leaf(self) -> x509.Certificate:
        return x509.load_pem_x509_certificates(self.certificate.encode())[0]

    def _pair(self) -> ClientCertificate:
        return ClientCertificate(self.certificate, self.key)


@dataclass(frozen=True)
class OAuth2ClientCredentials(Authentication):
    """A bearer token that is fetched from `token_url` (RFC 6749 4.4)."""

    kind = "oauth2"

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str = ""

    def check(self, policy: AddressPolicy) -> None:
        try:
            parse_url(self.token_url, policy)
        except InvalidEndpointUrl as error:
            raise InvalidAuthentication("token_url", str(error)) from error
        # RFC 6749, appendix A
        _match("client_id", self.client_id, _PRINTABLE_ASCII, "Use printable ASCII.")
        _match("client_secret", self.client_secret, _PRINTABLE_ASCII, "Use printable ASCII.")
        _match("scope", self.scope, _SCOPE, "Write words of ASCII, with one space between them.")

    def to_send(self) -> Credentials:
        return Credentials(
            secrets=(self.client_secret,),
            oauth2=ClientCredentials(
                self.token_url, self.client_id, self.client_secret, self.scope
            ),
        )


KINDS: dict[str, type[Authentication]] = {
    kind.kind: kind
    for kind in (
        NoAuthentication,
        BasicAuthentication,
        BearerAuthentication,
        HeaderAuthentication,
        MutualTLS,
        OAuth2ClientCredentials,
    )
}


def read(given: Mapping[str, Any], policy: AddressPolicy) -> Authentication:
    """The authentication that somebody describes: its kind and that kind's fields.

    Raises InvalidAuthentication.
    """
    name = given.get("kind")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise InvalidAuthentication("kind", f"Choose one of {', '.join(KINDS)}.")
    known = {one.name: one for one in fields(kind)}
    for extra in given.keys() - known.keys() - {"kind"}:
        raise InvalidAuthentication(str(extra), f"There is no such field in {kind.kind}.")
    for one in known.values():
        text = given.get(one.name, "" if one.default is MISSING else one.default)
        if not isinstance(text, str):
            raise InvalidAuthentication(one.name, "Give a string.")
        if not text and one.default is MISSING:
            raise InvalidAuthentication(one.name, "This field is required.")
        if len(text) > kind.max_length:
            raise InvalidAuthentication(one.name, f"Shorten it to {kind.max_length} characters.")
    authentication = stored(given)
    authentication.check(policy)
    return authentication


def stored(document: Mapping[str, str]) -> Authentication:
    """Read again what as_stored has given."""
    texts = dict(document)
    return KINDS[texts.pop("kind")](**texts)


def _match(name: str, text: str, pattern: re.Pattern[str], advice: str) -> None:
    if not pattern.fullmatch(text):
        raise InvalidAuthentication(name, advice)
