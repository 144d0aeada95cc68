"""Outgoing webhooks: which events there are, what is delivered, and how it is signed (Standard Webhooks 1.0).

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict

from gpu_tasks.contract.records import Cost, ErrorRecord, RecordStage, ResultRecord, Status, TaskRecord, UtcTime

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"

_SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # what secrets begin with
_VERSION: Final = "v1"
# The specification's bounds.
_SECRET_BYTES: Final = range(24, 65)


class WebhookEvent(StrEnum):
    """What can be told of a task."""

    STARTED = "task.started"
    COMPLETED = "task.completed"
    FAILED = "task.failed"
    CANCELLED = "task.cancelled"


ENDS: Final = (WebhookEvent.COMPLETED, WebhookEvent.FAILED, WebhookEvent.CANCELLED)

EVENT_OF: Mapping[Status, WebhookEvent | None] = MappingProxyType(
    {
        Status.PENDING: None,
        Status.RUNNING: WebhookEvent.STARTED,
        Status.COMPLETED: WebhookEvent.COMPLETED,
        Status.FAILED: WebhookEvent.FAILED,
        Status.CANCELLED: WebhookEvent.CANCELLED,
    }
)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WebhookTask(_Model):
    """Where the task stood when it happened; `result.output_url` is signed when the message is sent."""

    task_id: str
    status: Status
    stage: RecordStage
    percent: float
    created_at: UtcTime
    updated_at: UtcTime
    labels: dict[str, str]
    attempts: int
    cost: Cost
    result: ResultRecord | None = None
    error: ErrorRecord | None = None

    @classmethod
    def of(cls, record: TaskRecord) -> Self:
        fields: dict[str, Any] = {name: getattr(record, name) for name in cls.model_fields if name != "labels"}
        return cls(**fields, labels=record.request.get("labels") or {})


class WebhookMessage(_Model):
    """The body of a delivery."""

    type: WebhookEvent
    timestamp: UtcTime
    data: WebhookTask


class Delivery(_Model):
    """One message for one address. It is stored with the run that delivers it: no secret, no signed URL."""

    url: str
    message: WebhookMessage

    @property
    def id(self) -> str:
        """The same for every try and every replay: a receiver knows by it what it has seen."""
        return f"msg_{self.message.data.task_id}_{self.message.type.removeprefix('task.')}"


def delivery_of(record: TaskRecord) -> Delivery | None:
    """Return what is to be told now that a task stands as in `record`, None when nobody wants to know."""
    url, event = record.request.get("webhook_url"), EVENT_OF[record.status]
    if not url or event is None or event not in record.request.get("webhook_events", ENDS):
        return None
    message = WebhookMessage(type=event, timestamp=record.updated_at, data=WebhookTask.of(record))
    return Delivery(url=url, message=message)


def signing_keys(secrets: str) -> tuple[bytes, ...]:
    """Return the keys in one or more secrets, separated by spaces: while one is replaced, both sign.

    Raises:
        ValueError: One of them is no `whsec_` secret of 24 to 64 bytes; the secret is not repeated.
    """
    keys = []
    for secret in secrets.split():
        try:
            key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
        except binascii.Error:
            key = b""
        if not secret.startswith(_SECRET_PREFIX) or len(key) not in _SECRET_BYTES:
            raise ValueError("a webhook secret is whsec_ and 24 to 64 random bytes in base64")
        keys.append(key)
    return tuple(keys)


def signatures(keys: tuple[bytes, ...], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of the signature header: one signature for each key."""
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    digests = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
    return " ".join(f"{_VERSION},{base64.b64encode(digest).decode()}" for digest in digests)
