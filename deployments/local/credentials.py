"""The secrets of one local stack: made once, kept in one file only its owner can read."""

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, field_serializer

from deployments.local.errors import CredentialsUnusable

_OTHERS = 0o077


class WeedKeys(BaseModel):
    """Without these four SeaweedFS serves every object to every local web page, unauthenticated."""

    model_config = ConfigDict(frozen=True)

    volume_write: SecretStr
    volume_read: SecretStr
    filer_write: SecretStr
    filer_read: SecretStr

    @field_serializer("*", when_used="json")
    def _reveal(self, secret: SecretStr) -> str:
        return secret.get_secret_value()


class Credentials(BaseModel):
    """All generated secrets; each is revealed only where a service is handed its own."""

    model_config = ConfigDict(frozen=True)

    postgres_password: SecretStr
    valkey_password: SecretStr
    s3_access_key_id: str
    s3_secret_access_key: SecretStr
    weed: WeedKeys
    runpod_api_key: SecretStr
    api_secret: SecretStr

    @field_serializer(
        "postgres_password",
        "valkey_password",
        "s3_secret_access_key",
        "runpod_api_key",
        "api_secret",
        when_used="json",
    )
    def _reveal(self, secret: SecretStr) -> str:
        return secret.get_secret_value()

    def webhook_secret(self) -> SecretStr:
        """What outgoing webhooks are signed with; derived, so that older credential files have one, too."""
        return SecretStr("whsec_" + base64.b64encode(self._derived("webhooks")).decode())

    def hook_token(self) -> SecretStr:
        """The token in the address that the control plane calls when a job is over."""
        return SecretStr(self._derived("hooks").hex())

    def prefect_login(self) -> SecretStr:
        """What Prefect's API and its page ask for where a stack protects them; derived like the others."""
        return SecretStr("operator:" + base64.urlsafe_b64encode(self._derived("prefect")).decode())

    def _derived(self, purpose: str) -> bytes:
        return hmac.digest(self.api_secret.get_secret_value().encode(), purpose.encode(), hashlib.sha256)

    def secret_values(self) -> tuple[str, ...]:
        """Return every secret in plain, to search logs and command lines for them."""
        held = (
            self.postgres_password,
            self.valkey_password,
            self.s3_secret_access_key,
            self.runpod_api_key,
            self.api_secret,
            self.webhook_secret(),
            self.hook_token(),
            self.prefect_login(),
            self.weed.volume_write,
            self.weed.volume_read,
            self.weed.filer_write,
            self.weed.filer_read,
        )
        return tuple(secret.get_secret_value() for secret in held)


def load_or_create(path: Path) -> Credentials:
    """Read the credentials file, or make it with mode 0600.

    Raises:
        CredentialsUnusable: others can read the file, or it holds something else.
    """
    try:
        return load(path)
    except FileNotFoundError:
        _create(path)
        return load(path)


def load(path: Path) -> Credentials:
    """Read the credentials file.

    Raises:
        FileNotFoundError: there is none.
        CredentialsUnusable: others can read the file, or it holds something else.
    """
    if path.stat().st_mode & _OTHERS:
        raise CredentialsUnusable(f"Others can read {path}. Remove the data directory, or `chmod 600` the file.")
    try:
        return Credentials.model_validate_json(path.read_bytes())
    except ValidationError:
        raise CredentialsUnusable(f"{path} is no credentials file. Remove the data directory.") from None


def _create(path: Path) -> None:
    made = Credentials(
        postgres_password=_token(),
        valkey_password=_token(),
        s3_access_key_id="lipswap" + secrets.token_hex(8),
        s3_secret_access_key=_token(),
        weed=WeedKeys(volume_write=_token(), volume_read=_token(), filer_write=_token(), filer_read=_token()),
        runpod_api_key=_token(),
        api_secret=_token(),
    )
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(made.model_dump_json(indent=2))
    draft.replace(path)


def _token() -> SecretStr:
    """Return 256 random bits in letters and digits: safe in a URL, a config file and a header."""
    return SecretStr(secrets.token_hex(32))
