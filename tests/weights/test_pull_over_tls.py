"""Over https: a certificate that nobody vouches for is refused, and what was asked safely is not answered openly."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gpu_tasks.contract.faults import FaultCode, FaultError
from tests.weights.conftest import CONTENT
from tests.weights.host import Fault, Host, serving
from tests.weights.models import QUICK, entry, store


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a host of models")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + made.public_bytes(Encoding.PEM))
    return path


@pytest.fixture
def safe_host(certificate: Path) -> Iterator[Host]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with serving(Host(files={"/model.onnx": CONTENT}), tls) as host:
        yield host


def test_a_host_whose_certificate_is_vouched_for_is_asked(
    tmp_path: Path, safe_host: Host, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    path = store(tmp_path / "w", entry(f"{safe_host.url}/model.onnx", content=CONTENT)).pull("model", limits=QUICK)

    assert path.read_bytes() == CONTENT


def test_a_host_whose_certificate_nobody_vouches_for_is_refused_at_once(tmp_path: Path, safe_host: Host) -> None:
    with pytest.raises(FaultError, match="certificate is not valid") as caught:
        store(tmp_path / "w", entry(f"{safe_host.url}/model.onnx", content=CONTENT)).pull("model", limits=QUICK)

    assert caught.value.fault.code is FaultCode.MODEL_NOT_FETCHED
    assert safe_host.asked == []


def test_a_redirect_from_https_to_http_is_not_followed(
    tmp_path: Path, safe_host: Host, host: Host, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    safe_host.faults = [Fault(status=302, location=f"{host.url}/model.onnx")]

    with pytest.raises(FaultError, match="no address that may be followed"):
        store(tmp_path / "w", entry(f"{safe_host.url}/model.onnx", content=CONTENT)).pull("model", limits=QUICK)

    assert host.asked == []
