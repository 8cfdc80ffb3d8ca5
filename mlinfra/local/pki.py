"""Keys and certificates of a cluster: its own authorities, and what they sign.

Two authorities, one for Kubernetes and one for etcd: a certificate that opens the API server must
not open the database behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mlinfra.local.files import write_atomically

AUTHORITY_LIFE = timedelta(days=3650)
CERTIFICATE_LIFE = timedelta(days=365)
RENEW_BEFORE = timedelta(days=60)
CLOCK_SKEW = timedelta(minutes=5)

_USAGES = {
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
    "client": ExtendedKeyUsageOID.CLIENT_AUTH,
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a certificate certifies.

    Attributes:
        common_name: for a client, its user name in Kubernetes.
        groups: for a client, its groups in Kubernetes.
        hosts: for a server, the DNS names and IP addresses it answers at.
        usages: whether the holder is a server, a client, or both.
    """

    common_name: str
    groups: Sequence[str] = ()
    hosts: Sequence[str] = ()
    usages: Sequence[Literal["server", "client"]] = ("client",)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Where a certificate and its key lie; the key is readable by its owner alone."""

    certificate: Path
    key: Path


class CertificateAuthority:
    """Signs certificates into one folder; what is there and still good is kept."""

    def __init__(
        self, folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ):
        self.path = folder / f"{name}.crt"
        self._folder = folder
        self._certificate = certificate
        self._key = key

    @classmethod
    def load_or_create(cls, folder: Path, name: str, *, now: datetime | None = None) -> Self:
        """The authority stored under a name, made where there is none or it is about to expire."""
        now = now or datetime.now(UTC)
        pair = KeyPair(folder / f"{name}.crt", folder / f"{name}.key")
        if pair.certificate.exists() and pair.key.exists():
            certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
            if certificate.not_valid_after_utc - now > CERTIFICATE_LIFE:
                return cls(folder, name, certificate, _load_key(pair.key))
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"mlinfra {name}")])
        certificate = (
            _builder(subject, subject, key, now=now, life=AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        _store(pair, certificate, key)
        return cls(folder, name, certificate, key)

    def issue(self, name: str, subject: Subject, *, now: datetime | None = None) -> KeyPair:
        """A certificate stored under a name, issued anew unless it says the same and stays valid."""
        now = now or datetime.now(UTC)
        pair = KeyPair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        if pair.certificate.exists() and pair.key.exists():
            stored = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
            if self._still_good(stored, subject, now):
                return pair
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(_name_of(subject), self._certificate.subject, key, now=now, life=CERTIFICATE_LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([_USAGES[usage] for usage in subject.usages]), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if subject.hosts:
            builder = builder.add_extension(_alternative_names(subject), critical=False)
        _store(pair, builder.sign(self._key, hashes.SHA256()), key)
        return pair

    def _still_good(self, stored: x509.Certificate, subject: Subject, now: datetime) -> bool:
        if stored.not_valid_after_utc - now < RENEW_BEFORE or stored.subject != _name_of(subject):
            return False
        try:
            stored.verify_directly_issued_by(self._certificate)
            names = stored.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return not subject.hosts
        except (InvalidSignature, ValueError):
            # Signed by an authority that was replaced since.
            return False
        return names == _alternative_names(subject)


def ensure_signing_key(folder: Path, name: str) -> KeyPair:
    """The key pair that signs ServiceAccount tokens; the first of the pair is the public key."""
    pair = KeyPair(folder / f"{name}.pub", folder / f"{name}.key")
    if not (pair.certificate.exists() and pair.key.exists()):
        key = ec.generate_private_key(ec.SECP256R1())
        write_atomically(pair.key, _key_pem(key))
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        write_atomically(pair.certificate, public)
    return pair


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *,
    now: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name_of(subject: Subject) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in subject.groups]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, subject.common_name)])


def _alternative_names(subject: Subject) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general_name(host) for host in subject.hosts])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} does not hold an elliptic curve key")
    return key


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _store(pair: KeyPair, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    write_atomically(pair.key, _key_pem(key))
    write_atomically(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))
