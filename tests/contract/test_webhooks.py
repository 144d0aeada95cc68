"""Signing webhooks: what the public package accepts, and which secrets are none."""

import base64
import json
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from blocks import record_changes
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.records import ErrorRecord, Status, TaskRecord
from gpu_tasks.contract.webhooks import (
    EVENT_OF,
    ID_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    WebhookEvent,
    delivery_of,
    signatures,
    signing_keys,
)

OLD, NEW = ("whsec_" + base64.b64encode(bytes([number] * 24)).decode() for number in (1, 2))
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def _record(**request: object) -> TaskRecord:
    return record_changes.queued("7f2b3c1e-9a54-4d0e-8a3b-5c6d7e8f9a0b", request, now=NOW)


@pytest.mark.parametrize("secrets", [NEW, f"{NEW} {OLD}"])
def test_the_public_package_accepts_what_we_sign_also_while_a_secret_is_replaced(secrets: str) -> None:
    body = '{"type": "task.completed", "text": "ü"}'.encode()
    timestamp = int(datetime.now(UTC).timestamp())
    headers = {
        ID_HEADER: "msg_x",
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: signatures(signing_keys(secrets), "msg_x", timestamp, body),
    }
    for secret in secrets.split():
        assert Webhook(secret).verify(body, headers) == json.loads(body)


@pytest.mark.parametrize(
    "secret",
    [
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_",
        "whsec_***",
        "whsec_" + base64.b64encode(b"short").decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
    ],
)
def test_what_is_no_secret_is_refused_without_repeating_it(secret: str) -> None:
    with pytest.raises(ValueError, match="24 to 64") as refused:
        signing_keys(f"{NEW} {secret}")
    assert f"'{secret}'" not in str(refused.value)
    assert NEW not in str(refused.value)


def test_every_status_has_its_event() -> None:
    assert set(EVENT_OF) == set(Status)
    assert {event for event in EVENT_OF.values() if event} == set(WebhookEvent)


def test_only_what_was_asked_for_is_delivered() -> None:
    url = "https://example.com/hook"
    assert delivery_of(_record()) is None
    assert delivery_of(_record(webhook_url=url)) is None
    running = record_changes.entered(_record(webhook_url=url), Stage.INGEST, now=NOW)
    assert delivery_of(running) is None
    wanted = record_changes.entered(_record(webhook_url=url, webhook_events=["task.started"]), Stage.INGEST, now=NOW)
    started = delivery_of(wanted)
    assert started is not None
    assert started.id == "msg_7f2b3c1e-9a54-4d0e-8a3b-5c6d7e8f9a0b_started"
    error = ErrorRecord(error=FaultCode.NO_FACE_DETECTED, detail="Why.")
    assert delivery_of(record_changes.failed(wanted, error, now=NOW)) is None
    failed = delivery_of(record_changes.failed(running, error, now=NOW))
    assert failed is not None
    assert (failed.url, failed.message.type, failed.message.data.error) == (url, "task.failed", error)
