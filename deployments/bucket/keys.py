"""Keys of the least privilege, one per role, made through Cloudflare's API: each works on one bucket only.

R2's permissions end at the bucket: read, or read and write, of its objects. That a worker stays inside its prefixes is
the workers' own key grammar's business. Secret access key = SHA-256 of the token's value (Cloudflare, R2 API tokens).
"""

import hashlib
import os
import re
from collections.abc import Mapping
from enum import StrEnum, unique
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from deployments.bucket.errors import BucketError
from gpu_tasks.settings import R2Settings

API_BASE: Final = "https://api.cloudflare.com/client/v4"
_SECONDS: Final = 30.0
_ENDPOINT: Final = re.compile(
    r"^https://(?P<account>[0-9a-f]{32})\.(?:(?P<jurisdiction>[a-z]+)\.)?r2\.cloudflarestorage\.com$"
)
_READ, _WRITE = "Workers R2 Storage Bucket Item Read", "Workers R2 Storage Bucket Item Write"


@unique
class Role(StrEnum):
    """Who has a key of its own, to be revoked without the others. The page needs none: it has signed URLs."""

    API = "api"
    WORKER = "worker"
    AUDITOR = "auditor"


_PERMISSIONS: Final[Mapping[Role, tuple[str, ...]]] = {
    Role.API: (_READ, _WRITE),
    Role.WORKER: (_READ, _WRITE),
    Role.AUDITOR: (_READ,),
}


class CloudflareSettings(BaseSettings):
    """A token that may make tokens (Account API Tokens: Write); needed by this command alone, by nothing that runs."""

    model_config = SettingsConfigDict(
        env_prefix="CLOUDFLARE_", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    api_token: SecretStr
    api_base: str = API_BASE


class RoleKey(BaseModel):
    """What a process is given as R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY."""

    model_config = ConfigDict(frozen=True)

    role: Role
    access_key_id: str
    secret_access_key: SecretStr


class _Group(BaseModel):
    id: str
    name: str


class _Token(BaseModel):
    id: str
    name: str
    value: SecretStr | None = Field(default=None, description="Told once, when it is made.")


class KeyMaker:
    """Makes the keys of one bucket."""

    def __init__(self, cloudflare: CloudflareSettings, bucket: R2Settings, *, account: str | None = None) -> None:
        told = _ENDPOINT.match(bucket.endpoint)
        if told is None and account is None:
            raise BucketError(
                "Keys are made for Cloudflare R2 only: R2_ENDPOINT must be https://<account>.r2.cloudflarestorage.com "
                "(with .eu or another jurisdiction where the bucket has one). Elsewhere use the store's console."
            )
        self._account = account or str(told and told["account"])
        jurisdiction = (told and told["jurisdiction"]) or "default"
        self._resource = f"com.cloudflare.edge.r2.bucket.{self._account}_{jurisdiction}_{bucket.bucket}"
        self._name = f"lipswap-{bucket.bucket}"
        self._http = httpx.Client(
            base_url=cloudflare.api_base,
            headers={"Authorization": f"Bearer {cloudflare.api_token.get_secret_value()}"},
            timeout=_SECONDS,
        )

    def make(self, roles: tuple[Role, ...] = tuple(Role)) -> tuple[RoleKey, ...]:
        """Make a key for each role; earlier ones stay valid until somebody revokes them.

        Raises:
            BucketError: Cloudflare refuses, or does not answer.
        """
        with self._http:
            groups = {
                group.name: group.id
                for group in map(_Group.model_validate, self._ask("GET", "tokens/permission_groups"))
            }
            return tuple(self._make(role, groups) for role in roles)

    def _make(self, role: Role, groups: Mapping[str, str]) -> RoleKey:
        if missing := [name for name in _PERMISSIONS[role] if name not in groups]:
            raise BucketError(f"Cloudflare has no permission named {missing[0]}; make the key in its dashboard.")
        body = {
            "name": f"{self._name}-{role}",
            "policies": [
                {
                    "effect": "allow",
                    "resources": {self._resource: "*"},
                    "permission_groups": [{"id": groups[name]} for name in _PERMISSIONS[role]],
                }
            ],
        }
        token = _Token.model_validate(self._ask("POST", "tokens", body))
        if token.value is None:
            raise BucketError("Cloudflare made a token and did not tell its value; remove it in the dashboard.")
        secret = hashlib.sha256(token.value.get_secret_value().encode()).hexdigest()
        return RoleKey(role=role, access_key_id=token.id, secret_access_key=SecretStr(secret))

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401  # any result
        try:
            answer = self._http.request(method, f"/accounts/{self._account}/{path}", json=body)
        except httpx.HTTPError as error:
            raise BucketError("Cloudflare's API does not answer.") from error
        if answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.BAD_REQUEST}:
            raise BucketError(
                f"Cloudflare refuses CLOUDFLARE_API_TOKEN (status {answer.status_code}); it needs the permission "
                "Account API Tokens: Edit in the account of R2_ENDPOINT."
            )
        if not answer.is_success:
            raise BucketError(f"Cloudflare answered with status {answer.status_code}.")
        return answer.json()["result"]


def write_keys(keys: tuple[RoleKey, ...], folder: Path) -> tuple[Path, ...]:
    """Write each key as an environment file that only its owner can read, from its first byte on.

    Raises:
        BucketError: A file is there already: a key that is in use is not lost by writing over it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths = {key.role: folder / f"r2-{key.role}.env" for key in keys}
    if there := [path for path in paths.values() if path.exists()]:
        raise BucketError(f"{there[0]} exists; move it away first, or name another folder.")
    for key in keys:
        descriptor = os.open(paths[key.role], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"R2_ACCESS_KEY_ID={key.access_key_id}\n")
            file.write(f"R2_SECRET_ACCESS_KEY={key.secret_access_key.get_secret_value()}\n")
    return tuple(paths.values())
