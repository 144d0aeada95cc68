"""`python -m deployments.compose.first_time FOLDER`: every password and certificate of a new host, made once.

Files are readable by the containers' accounts, the folder by its owner only: an engine mounts each file by itself.
What only others can give (keys of RunPod and of the bucket) is left empty to be filled in.
"""

import base64
import secrets
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAYS: Final = 3650
_FROM_OTHERS: Final = ("runpod_api_key", "r2_access_key_id", "r2_secret_access_key")
_ARGUMENTS: Final = 2


def make(folder: Path) -> tuple[str, ...]:
    """Write what is not there yet; return the names of the files that somebody has to fill in.

    A file that exists is not written again: running databases know the old passwords. One is, because it only repeats
    a part of another.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    postgres, redis = _once(folder / "postgres_password"), _once(folder / "redis_password")
    _write(folder / "database_url", f"postgresql+asyncpg://prefect:{postgres}@postgres:5432/prefect")
    # Prefect's queues stay on the hosts' own network; the records' connection is encrypted wherever Redis is.
    _write(folder / "prefect_redis_url", f"redis://:{redis}@redis:6379/1")
    _write(folder / "job_store_url", f"rediss://:{redis}@redis:6380/0?ssl_ca_certs=/run/secrets/authority.pem")
    _write(folder / "redis.conf", f"requirepass {redis}\n")
    _once(folder / "api_secret")
    _once(folder / "runpod_hook_token")
    # In the form in which receivers' libraries take it (Standard Webhooks).
    _write(folder / "webhook_secret", f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}")
    # For people at the page; programs have keys of their own.
    _once(folder / "page_password")
    # Empty unless people sign in with an OAuth provider (docs/page.md).
    _write(folder / "oauth_secret", "")
    # Two pages behind one address must know each other's cookies.
    _once(folder / "page_cookie_secret")
    _write(folder / "prefect_auth", f"operator:{secrets.token_urlsafe(24)}")
    # Of the same login, whoever has changed that meanwhile; Prometheus takes it by itself.
    login = (folder / "prefect_auth").read_text(encoding="utf-8").strip()
    (folder / "prefect_password").unlink(missing_ok=True)
    _write(folder / "prefect_password", login.partition(":")[2])
    # In the form in which Prefect takes it (Fernet). Losing it is losing what blocks hold in secret.
    _write(folder / "prefect_encryption_key", base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    _once(folder / "grafana_password")
    if not (folder / "authority.pem").exists():
        _certificates(folder, "redis")
    for name in _FROM_OTHERS:
        _write(folder / name, "")
    return tuple(name for name in _FROM_OTHERS if not (folder / name).read_text(encoding="utf-8").strip())


def _once(path: Path) -> str:
    _write(path, secrets.token_urlsafe(24))
    return path.read_text(encoding="utf-8").strip()


def _write(path: Path, text: str) -> None:
    if not path.exists():
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)


def _certificates(folder: Path, host: str) -> None:
    """Make an authority for one host and forget its key: nobody can ever sign for another."""
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lipswap hosts")])
    authority = (
        _certificate(authority_name, authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    server = (
        _certificate(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]), authority_name, server_key.public_key()
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    key = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(folder / f"{host}.key", key.decode())
    _write(folder / f"{host}.pem", server.public_bytes(serialization.Encoding.PEM).decode())
    _write(folder / "authority.pem", authority.public_bytes(serialization.Encoding.PEM).decode())


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=_DAYS))
    )


def main() -> int:
    """Make the folder and tell what is left to do."""
    if len(sys.argv) != _ARGUMENTS:
        sys.stderr.write("usage: python -m deployments.compose.first_time FOLDER\n")
        return _ARGUMENTS
    folder = Path(sys.argv[1])
    for name in make(folder):
        sys.stdout.write(f"fill in {folder / name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
