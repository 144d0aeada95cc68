"""Keys and certificates: the configured ones, or a development chain that is made at the first start."""

import os
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from pydantic import BaseModel, ConfigDict, Field, field_validator

from gpu_tasks.contract.credentials import DEVELOPMENT_ORGANISATION
from gpu_tasks.provenance.errors import SigningSettingsError
from gpu_tasks.provenance.settings import SigningSettings

# C2PA claim signing. Verifiers with default settings know only emailProtection, so the signer carries both.
CLAIM_SIGNING = ObjectIdentifier("1.3.6.1.4.1.62558.2.1")

_AUTHORITY_TIME = timedelta(days=20 * 365)
_SIGNER_TIME = timedelta(days=5 * 365)
# A signature without a timestamp is believed only as long as its certificate lasts: renewed at half-time, every result
# stays trusted for half that time at least.
_RENEWAL_TIME = _SIGNER_TIME / 2
_CLOCK_SKEW = timedelta(minutes=5)
_OTHERS = 0o077

_PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


class Signatory(BaseModel):
    """Who signs: a chain of certificates, its key and the algorithm, and where timestamps come from."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    chain_pem: str
    key_pem: str = Field(repr=False)
    algorithm: str
    tsa_url: str | None = None


class Trust(BaseModel):
    """Whose signatures are believed, and whose clocks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    anchors_pem: str
    tsa_anchors_pem: str | None = None

    @field_validator("anchors_pem", "tsa_anchors_pem")
    @classmethod
    def _holds_certificates(cls, pem: str | None) -> str | None:
        # The library takes what it cannot read for nothing, and then says of every file that it is not trusted.
        if pem is not None:
            x509.load_pem_x509_certificates(pem.encode())
        return pem


class _Pair(NamedTuple):
    key: _PrivateKey
    certificates: list[x509.Certificate]

    @property
    def certificate(self) -> x509.Certificate:
        return self.certificates[0]

    def lasts_until(self, moment: datetime) -> bool:
        return self.certificate.not_valid_before_utc <= moment < self.certificate.not_valid_after_utc

    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def chain_pem(self) -> bytes:
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.certificates)


def load_signatory(settings: SigningSettings, *, now: datetime | None = None) -> Signatory:
    """Return who signs; without a configured chain the development chain, made or renewed where needed.

    Raises:
        SigningSettingsError: A file is missing, unreadable or expired, or key and certificate do not belong together.
    """
    moment = now or datetime.now(UTC)
    if settings.chain is None or settings.key is None:
        pair = _development_signer(settings.development, moment)
    else:
        pair = _pair(_read(settings.key), _read(settings.chain), settings.chain)
        if not pair.lasts_until(moment):
            raise SigningSettingsError(f"The first certificate of {settings.chain} is not valid today.")
    return Signatory(
        chain_pem=pair.chain_pem().decode(),
        key_pem=pair.key_pem().decode(),
        algorithm=_algorithm(pair.key),
        tsa_url=settings.tsa_url,
    )


def load_trust(settings: SigningSettings, *, now: datetime | None = None) -> Trust:
    """Return whose signatures are believed: the configured anchors, else the development chain's root.

    Raises:
        SigningSettingsError: As for `load_signatory`.
    """
    if settings.trust_anchors is None:
        authority = _development_authority(settings.development, now or datetime.now(UTC))
        anchors = authority.chain_pem().decode()
    else:
        anchors = _anchors(settings.trust_anchors)
    return Trust(anchors_pem=anchors, tsa_anchors_pem=_anchors(settings.tsa_anchors) if settings.tsa_anchors else None)


def _development_signer(folder: Path, now: datetime) -> _Pair:
    authority = _development_authority(folder, now)
    path = folder / "signer.pem"
    if path.exists():
        pair = _own_pair(path)
        comes_from_authority = pair.certificate.issuer == authority.certificate.subject
        if comes_from_authority and pair.lasts_until(now) and pair.lasts_until(now + _RENEWAL_TIME):
            return pair
    # Two processes that renew at once both issue under the one authority: whichever file stays, it is trusted.
    issued = _issue(authority, now)
    _draft(path, issued).replace(path)
    return issued


def _development_authority(folder: Path, now: datetime) -> _Pair:
    path = folder / "authority.pem"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = _draft(path, _new_authority(now))
        try:
            # Of several first starts one wins: a link, unlike a rename, never takes the place of a file.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    authority = _own_pair(path)
    if not authority.lasts_until(now):
        raise SigningSettingsError(f"The development authority has expired; remove {folder} to have a new one.")
    return authority


def _new_authority(now: datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    # Without a number of its own, the root of one folder would have the name of every other folder's root.
    name = _name(f"Lipswap development root {secrets.token_hex(4)}")
    builder = _builder(name, name, key, now, _AUTHORITY_TIME)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(certificates=True), critical=True)
    return _Pair(key, [builder.sign(key, hashes.SHA256())])


def _issue(authority: _Pair, now: datetime) -> _Pair:
    """Issue the end entity. C2PA refuses a self-signed signer, so there are always two certificates."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate.subject
    lasting = min(_SIGNER_TIME, authority.certificate.not_valid_after_utc - now)
    builder = _builder(_name("Lipswap development signer"), issuer, key, now, lasting)
    usages = [CLAIM_SIGNING, ExtendedKeyUsageOID.EMAIL_PROTECTION]
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    anchor = x509.AuthorityKeyIdentifier.from_issuer_public_key(_public(authority.key))
    builder = builder.add_extension(anchor, critical=False)
    if not isinstance(authority.key, ec.EllipticCurvePrivateKey):
        raise SigningSettingsError("The development authority is not one of ours.")
    return _Pair(key, [builder.sign(authority.key, hashes.SHA256())])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, lasting: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + lasting)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            # ISO 3166 leaves XX to users: a development chain is from no country.
            x509.NameAttribute(NameOID.COUNTRY_NAME, "XX"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, DEVELOPMENT_ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _key_usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _draft(path: Path, pair: _Pair) -> Path:
    """Write key and certificate into one file beside `path`, so that no reader ever finds them apart."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pair.key_pem() + pair.chain_pem())
    return draft


def _own_pair(path: Path) -> _Pair:
    if path.stat().st_mode & _OTHERS:
        raise SigningSettingsError(f"Others can read {path}; `chmod 600` it, or remove its folder to have a new one.")
    pem = _read(path)
    return _pair(pem, pem, path)


def _pair(key_pem: bytes, chain_pem: bytes, path: Path) -> _Pair:
    try:
        key = load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SigningSettingsError(f"The key for {path} is no PKCS#8 key without a password.") from error
    if not isinstance(key, _PrivateKey):
        raise SigningSettingsError(f"The key for {path} is of a kind that C2PA does not know.")
    certificates = _certificates(chain_pem, path)
    if certificates[0].public_key() != _public(key):
        raise SigningSettingsError(f"The first certificate of {path} does not belong to the key.")
    return _Pair(key, certificates)


def _anchors(path: Path) -> str:
    certificates = _certificates(_read(path), path)
    # What else lies in the file, a key perhaps, goes no further.
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates).decode()


def _certificates(pem: bytes, path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise SigningSettingsError(f"{path} holds no certificates in PEM form.") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SigningSettingsError(f"{path} cannot be read: {error.strerror}.") from error


def _public(key: _PrivateKey) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey:
    return key.public_key()


def _algorithm(key: _PrivateKey) -> str:
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if key.curve.name not in _CURVES:
        raise SigningSettingsError(f"C2PA does not know the curve {key.curve.name}.")
    return _CURVES[key.curve.name]
