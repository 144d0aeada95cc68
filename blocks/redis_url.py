"""Which Redis addresses are safe to use: encrypted and verified, or on this machine."""

from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

# What redis-py accepts in an address to switch verification off.
_UNVERIFIED = {
    "ssl_cert_reqs": {"none", "optional", "cert_none", "cert_optional"},
    "ssl_check_hostname": {"false", "0"},
}


def check_redis_url(url: SecretStr) -> SecretStr:
    """Return `url` when it is safe.

    Raises:
        ValueError: With a sentence that says what to do; the address itself, which holds a password, is never in it.
    """
    parts = urlsplit(url.get_secret_value())
    if parts.scheme not in {"redis", "rediss"} or not parts.hostname:
        raise ValueError("JOBSTORE_REDIS_URL is an address such as rediss://default:PASSWORD@HOST:6379/0")
    if parts.scheme == "redis" and not _is_loopback(parts.hostname):
        raise ValueError(
            f"JOBSTORE_REDIS_URL sends the password unencrypted to {parts.hostname}; write rediss:// instead of redis://"
        )
    for name, values in parse_qs(parts.query).items():
        if {value.lower() for value in values} & _UNVERIFIED.get(name.lower(), set()):
            raise ValueError(
                f"JOBSTORE_REDIS_URL switches certificate checks off; remove {name} "
                "(for a private authority name its file with ssl_ca_certs=/path/ca.pem)"
            )
    return url


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
