"""Ids of uploads in parts: all that is known of one stands in its id, sealed, so that any shim can go on with it."""

import base64
import binascii
import hashlib
import hmac
import time
from typing import Final

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from gpu_tasks.contract.artifacts import Digest, InputKey
from gpu_tasks.contract.faults import FaultCode, FaultError

_SEAL_BYTES: Final = 32
_PURPOSE: Final = b"lipswap upload id 1"


class UploadTicket(BaseModel):
    """An upload that was begun: what was promised, by whom, and where the bucket keeps it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: InputKey
    bucket_id: str
    size: int
    part_bytes: int
    content_type: str
    sha256: Digest | None
    owner: str | None
    expires_at: int

    @property
    def part_count(self) -> int:
        return -(-self.size // self.part_bytes)

    def bytes_of(self, number: int) -> int:
        """How large a part is; all are equal but for the last."""
        return self.part_bytes if number < self.part_count else self.size - (self.part_count - 1) * self.part_bytes


class UploadIds:
    """Makes ids and reads them.

    Args:
        secret: One that all shims of a deployment know, and that gives access to more than a forged id would.
    """

    def __init__(self, secret: SecretStr) -> None:
        self._key = hmac.digest(secret.get_secret_value().encode(), _PURPOSE, hashlib.sha256)

    def id_of(self, ticket: UploadTicket) -> str:
        body = ticket.model_dump_json().encode()
        return base64.urlsafe_b64encode(self._seal(body) + body).rstrip(b"=").decode()

    def read(self, upload_id: str, *, owner: str | None) -> UploadTicket:
        """Return what stands in an id.

        Raises:
            FaultError: UPLOAD_UNKNOWN when nobody here made it, it is somebody else's, or its time is over.
        """
        try:
            sealed = base64.b64decode(upload_id + "=" * (-len(upload_id) % 4), altchars=b"-_", validate=True)
            body = sealed[_SEAL_BYTES:]
            if not hmac.compare_digest(sealed[:_SEAL_BYTES], self._seal(body)):
                raise FaultError(FaultCode.UPLOAD_UNKNOWN)
            ticket = UploadTicket.model_validate_json(body)
        except (binascii.Error, ValueError, ValidationError) as error:
            raise FaultError(FaultCode.UPLOAD_UNKNOWN) from error
        if ticket.owner != owner or ticket.expires_at < time.time():
            raise FaultError(FaultCode.UPLOAD_UNKNOWN)
        return ticket

    def _seal(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)
