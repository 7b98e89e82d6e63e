"""Certificates for the tests: an authority of our own, and what it vouches for."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from webhooks.sending.credentials import ClientCertificate

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Authority:
    """Signs certificates; `bundle` is the PEM file for those who trust it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Authority of the tests")
        certificate = (
            _certificate(self._name, self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_USES_OF_AN_AUTHORITY, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.bundle = directory / "authority.pem"
        self.bundle.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def server_context(
        self,
        host: str,
        *,
        self_signed: bool = False,
        expired: bool = False,
        asks: ssl.VerifyMode = ssl.CERT_NONE,
    ) -> ssl.SSLContext:
        """The context of a server that shows a certificate for `host`, and may ask for one."""
        shown = self.certificate(host, self_signed=self_signed, expired=expired)
        path = self._directory / f"{x509.random_serial_number()}.pem"
        path.write_text(shown.key + shown.chain)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        context.verify_mode = asks
        context.load_verify_locations(self.bundle)
        return context

    def certificate(
        self,
        host: str,
        *,
        self_signed: bool = False,
        expired: bool = False,
        key: Key | None = None,
    ) -> ClientCertificate:
        """A certificate for a name or an IPv4 address, and its key: a server's or a client's."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        issuer, issuer_key = (_name(host), key) if self_signed else (self._name, self._key)
        is_address = host.replace(".", "").isdecimal()
        name = x509.IPAddress(ip_address(host)) if is_address else x509.DNSName(host)
        certificate = (
            _certificate(_name(host), issuer, key, expired=expired)
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
                critical=False,
            )
            .sign(issuer_key, hashes.SHA256())
        )
        return ClientCertificate(
            certificate.public_bytes(serialization.Encoding.PEM).decode(),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode(),
        )

    def write_certificate(self, host: str, directory: Path) -> None:
        """Write one, and its key, to `own.pem` and `own.key`."""
        own = self.certificate(host)
        (directory / "own.pem").write_text(own.chain)
        (directory / "own.key").write_text(own.key)


_USES_OF_AN_AUTHORITY = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: Key,
    *,
    expired: bool = False,
) -> x509.CertificateBuilder:
    day = timedelta(days=1)
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 3 * day)
        .not_valid_after(now - day if expired else now + day)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
