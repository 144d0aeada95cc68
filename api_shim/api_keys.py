"""API keys: `lsk_{id}_{secret}`, kept as `keys/{id}.json` in the bucket with a digest in place of the secret.

The secret has 256 random bits, so one SHA-256 is as good as a slow hash and costs a request nothing.
"""

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from gpu_tasks.contract.artifacts import KEYS, Digest
from gpu_tasks.contract.records import UtcTime
from gpu_tasks.storage import ArtifactStore

_TEXT = re.compile(r"lsk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_ID_BYTES: Final = 8
_SECRET_BYTES: Final = 32
KeyId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]


class Scope(StrEnum):
    """What a key may be used for."""

    READ = "read"  # status, lists and events of its own tasks
    RUN = "run"  # start, run again, cancel and delete tasks
    STORAGE = "storage"  # upload and download
    LOOK = "look"  # estimates, faces, previews, verification
    ADMIN = "admin"  # the tasks of all keys, and what is the operator's


# What a key may do unless its maker says otherwise: everything but what concerns others.
DEFAULT_SCOPES: Final = (Scope.READ, Scope.RUN, Scope.STORAGE, Scope.LOOK)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ApiKey(_Model):
    """A key as it is kept. Null limits are those of the service."""

    id: KeyId
    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    secret_sha256: Digest
    scopes: tuple[Scope, ...]
    requests_per_minute: int | None = Field(default=None, gt=0)
    max_tasks: int | None = Field(default=None, gt=0)
    created_at: UtcTime
    revoked_at: UtcTime | None = None

    def is_opened_by(self, secret: SecretStr) -> bool:
        """Tell whether this is the key's secret and the key is still good."""
        digest = hashlib.sha256(secret.get_secret_value().encode()).hexdigest()
        return hmac.compare_digest(digest, self.secret_sha256) and self.revoked_at is None


class LastUse(_Model):
    """Beside the key and not in it: a use never races with a revocation."""

    used_at: UtcTime


class Told(NamedTuple):
    """A key as a caller sends it."""

    id: KeyId
    secret: SecretStr


class Created(NamedTuple):
    """A new key, and the text that its owner is told once."""

    key: ApiKey
    text: SecretStr


def parse(text: str) -> Told | None:
    """Return the parts of a key, None when the text is none."""
    found = _TEXT.fullmatch(text)
    return Told(found[1], SecretStr(found[2])) if found else None


class KeyRing:
    """The keys in one bucket. Methods block, and may raise StorageError STORAGE_UNAVAILABLE."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store

    def create(
        self,
        name: str,
        *,
        scopes: tuple[Scope, ...] = DEFAULT_SCOPES,
        requests_per_minute: int | None = None,
        max_tasks: int | None = None,
    ) -> Created:
        """Make a key; its text is nowhere but in the answer."""
        key_id, secret = secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
        key = ApiKey(
            id=key_id,
            name=name,
            secret_sha256=hashlib.sha256(secret.encode()).hexdigest(),
            scopes=scopes,
            requests_per_minute=requests_per_minute,
            max_tasks=max_tasks,
            created_at=datetime.now(UTC),
        )
        self._store.put_json(_place(key_id), key, if_absent=True)
        return Created(key, SecretStr(f"lsk_{key_id}_{secret}"))

    def find(self, key_id: KeyId) -> ApiKey | None:
        return self._store.read_json(_place(key_id), ApiKey)

    def list(self) -> tuple[tuple[ApiKey, LastUse | None], ...]:
        """Return all keys with their last use, oldest first."""
        ids = [key.removeprefix(KEYS).removesuffix(".json") for key in self._store.keys(KEYS) if key.count("/") == 1]
        found = [(key, self._store.read_json(_use(key.id), LastUse)) for key in map(self.find, ids) if key is not None]
        return tuple(sorted(found, key=lambda pair: pair[0].created_at))

    def revoke(self, key_id: KeyId) -> ApiKey | None:
        """End a key for good; every shim knows after a minute at most. None when there is no such key."""
        key = self.find(key_id)
        if key is None or key.revoked_at is not None:
            return key
        revoked = key.model_copy(update={"revoked_at": datetime.now(UTC)})
        self._store.put_json(_place(key_id), revoked, if_absent=False)
        return revoked

    def note_use(self, key_id: KeyId) -> None:
        self._store.put_json(_use(key_id), LastUse(used_at=datetime.now(UTC)), if_absent=False)


def _place(key_id: KeyId) -> str:
    return f"{KEYS}{key_id}.json"


def _use(key_id: KeyId) -> str:
    return f"{KEYS}{key_id}/used.json"
