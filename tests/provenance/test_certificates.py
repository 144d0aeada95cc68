import stat
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import ValidationError

from gpu_tasks.contract.credentials import DEVELOPMENT_ORGANISATION
from gpu_tasks.provenance.certificates import (
    CLAIM_SIGNING,
    Signatory,
    Trust,
    load_signatory,
    load_trust,
)
from gpu_tasks.provenance.errors import SigningSettingsError
from gpu_tasks.provenance.settings import SigningSettings
from tests.provenance.parties import Party


def chain_of(signatory: Signatory) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(signatory.chain_pem.encode())


def root_of(trust: Trust) -> x509.Certificate:
    return x509.load_pem_x509_certificates(trust.anchors_pem.encode())[0]


def key_file(path: Path, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> Path:
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def test_the_development_chain_has_what_c2pa_asks_of_a_signer(us: Party) -> None:
    signer, root = chain_of(us.signatory)[0], root_of(us.trust)
    signer.verify_directly_issued_by(root)
    extensions = {extension.oid.dotted_string: extension for extension in signer.extensions}
    basic, usage = extensions["2.5.29.19"], extensions["2.5.29.15"]
    assert (basic.critical, usage.critical) == (True, True)
    assert signer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is True
    assert signer.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    assert not signer.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert set(signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == {
        CLAIM_SIGNING,
        ExtendedKeyUsageOID.EMAIL_PROTECTION,
    }
    assert {"2.5.29.14", "2.5.29.35"} <= set(extensions)
    assert us.signatory.algorithm == "es256"


def test_a_development_signature_says_so_in_its_name(us: Party) -> None:
    for certificate in (*chain_of(us.signatory), root_of(us.trust)):
        (organisation,) = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        assert organisation.value == DEVELOPMENT_ORGANISATION == "Lipswap development"
        assert str(name.value).startswith("Lipswap development")


def test_only_the_owner_can_read_what_was_made(us: Party) -> None:
    files = list(us.settings.development.iterdir())
    assert sorted(file.name for file in files) == ["authority.pem", "signer.pem"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(us.settings.development.stat().st_mode) == 0o700
    assert us.signatory.key_pem not in repr(us.signatory)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    settings = SigningSettings(development=tmp_path)
    load_signatory(settings)
    (tmp_path / "signer.pem").chmod(0o640)
    with pytest.raises(SigningSettingsError, match="Others can read"):
        load_signatory(settings)


def first_start(folder: Path) -> tuple[str, str]:
    settings = SigningSettings(development=folder)
    return load_signatory(settings).chain_pem, load_trust(settings).anchors_pem


def test_processes_that_start_at_once_make_one_authority(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        made = list(pool.map(first_start, [tmp_path / "c2pa"] * 12))
    assert len({anchors for _, anchors in made}) == 1
    root = x509.load_pem_x509_certificates(made[0][1].encode())[0]
    for chain, _ in made:
        x509.load_pem_x509_certificates(chain.encode())[0].verify_directly_issued_by(root)
    assert sorted(path.name for path in (tmp_path / "c2pa").iterdir()) == ["authority.pem", "signer.pem"]


def test_a_later_start_finds_the_same_chain_and_renews_it_at_half_time(tmp_path: Path) -> None:
    settings = SigningSettings(development=tmp_path)
    begun = datetime.now(UTC)
    first = load_signatory(settings, now=begun)
    assert load_signatory(settings, now=begun + timedelta(days=365)) == first
    renewed = load_signatory(settings, now=begun + timedelta(days=1000))
    assert renewed.chain_pem != first.chain_pem
    chain_of(renewed)[0].verify_directly_issued_by(root_of(load_trust(settings)))
    assert load_signatory(settings, now=begun + timedelta(days=6 * 365)).chain_pem not in {
        first.chain_pem,
        renewed.chain_pem,
    }


def test_an_authority_that_is_over_is_told_and_not_replaced(tmp_path: Path) -> None:
    settings = SigningSettings(development=tmp_path)
    load_signatory(settings)
    with pytest.raises(SigningSettingsError, match="expired; remove"):
        load_trust(settings, now=datetime.now(UTC) + timedelta(days=21 * 365))


def test_configured_files_are_used_and_nothing_is_made(tmp_path: Path, us: Party) -> None:
    pem = us.settings.development / "signer.pem"
    configured = SigningSettings(
        chain=pem, key=pem, trust_anchors=us.settings.development / "authority.pem", development=tmp_path / "none"
    )
    load_signatory(us.settings)
    assert chain_of(load_signatory(configured)) == chain_of(load_signatory(us.settings))
    assert not (tmp_path / "none").exists()


def test_what_does_not_fit_together_is_said_at_the_start(tmp_path: Path, us: Party) -> None:
    chain, anchors = us.settings.development / "signer.pem", us.settings.development / "authority.pem"
    load_signatory(us.settings)
    other = key_file(tmp_path / "other.pem", ec.generate_private_key(ec.SECP256R1()))
    unknown = key_file(tmp_path / "curve.pem", ec.generate_private_key(ec.SECP256K1()))
    (tmp_path / "text.pem").write_text("no key")
    for key, sentence in (
        (other, "does not belong"),
        (unknown, "does not belong"),
        (tmp_path / "text.pem", "no PKCS#8 key"),
        (tmp_path / "absent.pem", "cannot be read"),
    ):
        with pytest.raises(SigningSettingsError, match=sentence):
            load_signatory(SigningSettings(chain=chain, key=key, trust_anchors=anchors))
    with pytest.raises(SigningSettingsError, match="no certificates"):
        load_trust(SigningSettings(trust_anchors=tmp_path / "text.pem"))
    with pytest.raises(SigningSettingsError, match="not valid today"):
        load_signatory(
            SigningSettings(chain=chain, key=chain, trust_anchors=anchors), now=datetime.now(UTC) + timedelta(days=9999)
        )


@pytest.mark.parametrize(
    "settings",
    [{"chain": "a"}, {"key": "a"}, {"chain": "a", "key": "b"}, {"tsa_url": "ftp://stamp"}],
    ids=str,
)
def test_half_a_configuration_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="LIPSWAP_C2PA_"):
        SigningSettings.model_validate(settings)
