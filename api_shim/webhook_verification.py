"""Verifying a webhook on the receiver's side: who sent it, and when.

@app.post("/hook")
async def hook(request: Request) -> None:
    message = verify_webhook(await request.body(), request.headers, secret)
    if message.type is WebhookEvent.COMPLETED:
        print(message.data.result.output_url)
"""

import hmac
import time
from collections.abc import Mapping
from typing import Final

from pydantic import SecretStr, ValidationError

from gpu_tasks.contract.webhooks import (
    ID_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    WebhookMessage,
    signatures,
    signing_keys,
)

_TOLERANCE_SECONDS: Final = 300
_MAX_DIGITS: Final = 15


class WebhookVerificationError(Exception):
    """The message is not to be believed: answer 400 and forget it."""


def verify_webhook(
    body: bytes, headers: Mapping[str, str], secret: SecretStr, *, tolerance_seconds: float = _TOLERANCE_SECONDS
) -> WebhookMessage:
    """Return a message that the holder of the secret has signed, lately.

    It may come more than once: remember its `webhook-id` header to act only once.

    Args:
        body: The bytes as they came, not parsed and written again.
        headers: Of the request; upper and lower case do not matter.
        secret: The service's `whsec_...`; several, separated by spaces, while one is replaced.
        tolerance_seconds: How far the clocks may differ, and how late a message may come.

    Raises:
        WebhookVerificationError: It was not signed with the secret, is too old, or is no message of ours.
        ValueError: The secret is none.
    """
    told = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp, signed = (told.get(name, "") for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER))
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= _MAX_DIGITS):
        raise WebhookVerificationError("the message does not say when it was sent")
    if abs(time.time() - int(timestamp)) > tolerance_seconds:
        raise WebhookVerificationError("the message was sent too long ago, or the clocks differ")
    expected = signatures(signing_keys(secret.get_secret_value()), message_id, int(timestamp), body).split()
    # Each with each, so that the time it takes tells nothing.
    matches = [hmac.compare_digest(ours.encode(), theirs.encode()) for ours in expected for theirs in signed.split()]
    if not any(matches):
        raise WebhookVerificationError("the message was not signed with this secret")
    try:
        return WebhookMessage.model_validate_json(body)
    except ValidationError as error:
        raise WebhookVerificationError("the message is none of this service") from error
