"""The certificate of the webhook: made here, so that nothing else has to be installed.

Each certificate has an authority of its own, whose key is dropped as soon as it has signed: nothing else can
ever be signed with it. A renewal therefore brings a new authority, and the API server trusts the previous one
as well until every replica has the new certificate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=365)
RENEWED_BEFORE_END = timedelta(days=120)
_CLOCKS_DIFFER_BY = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate with its key, and the authorities to trust; PEM."""

    certificate: bytes
    key: bytes
    authorities: bytes

    @property
    def expires_at(self) -> datetime:
        """Raises `ValueError` if this is not a certificate."""
        return x509.load_pem_x509_certificate(self.certificate).not_valid_after_utc

    def is_for(self, name: str) -> bool:
        """Whether it names the server. Raises `ValueError` if this is not a certificate."""
        found = x509.load_pem_x509_certificate(self.certificate).extensions
        names = found.get_extension_for_class(x509.SubjectAlternativeName).value
        return name in names.get_values_for_type(x509.DNSName)


def make_certificate(names: Sequence[str], *, now: datetime, previous: bytes = b"") -> Certificate:
    """A certificate for the DNS `names`; `previous` is an authority that is to be trusted as well."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "piko admission")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "piko admission webhook")])
    authority = (
        _builder(issuer, issuer, authority_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    served = (
        _builder(subject, issuer, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return Certificate(
        certificate=served.public_bytes(pem),
        key=key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        authorities=authority.public_bytes(pem) + _first(previous),
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER_BY)
        .not_valid_after(now + LIFETIME)
    )


def _first(authorities: bytes) -> bytes:
    """The newest of some authorities, so that their number does not grow."""
    end = b"-----END CERTIFICATE-----\n"
    first, found, _ = authorities.partition(end)
    return first + found if found else b""
