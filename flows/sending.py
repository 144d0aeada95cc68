"""One webhook message, signed and sent: to a public address, once resolved, without following anybody elsewhere."""

import asyncio
import ssl
import time
from functools import cache
from typing import Final

import certifi
import httpx

from blocks.webhook_address import Address, Callee, parse, resolve
from blocks.webhooks import WebhookPolicy
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.webhooks import (
    ID_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    Delivery,
    signatures,
    signing_keys,
)

_MAX_ADDRESSES: Final = 4
_MAX_RETRY_AFTER_SECONDS: Final = 24 * 3600.0
_GONE: Final = 410


class DeliveryError(FaultError):
    """A message was not taken.

    Attributes:
        is_final: Trying again would not help: the address may not be called, or its owner wants no more.
        retry_after_seconds: How long the receiver wants to be left alone, where it says so.
    """

    def __init__(self, detail: str, *, is_final: bool = False, retry_after_seconds: float = 0.0) -> None:
        super().__init__(FaultCode.WEBHOOK_FAILED, detail)
        self.is_final = is_final
        self.retry_after_seconds = retry_after_seconds

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self.args[1], self.is_final, self.retry_after_seconds))


def _rebuild(detail: str, is_final: bool, retry_after_seconds: float) -> DeliveryError:  # noqa: FBT001  # pickled by place
    return DeliveryError(detail, is_final=is_final, retry_after_seconds=retry_after_seconds)


async def send(delivery: Delivery, policy: WebhookPolicy) -> None:
    """Post a message; any answer of 200 to 299 is its receipt, and nothing of an answer's body is read.

    Raises:
        DeliveryError: It was not taken.
    """
    keys = signing_keys(policy.secrets.get_secret_value())
    if not keys:
        raise DeliveryError("There is no secret to sign it with.")
    callee, addresses = await _vetted(delivery.url, policy)
    body = delivery.message.model_dump_json().encode()
    timestamp = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Lipswap-Webhooks/1",
        ID_HEADER: delivery.id,
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: signatures(keys, delivery.id, timestamp, body),
    }
    try:
        async with asyncio.timeout(policy.answer_seconds):
            status, retry_after = await _post(callee, addresses, body, headers)
    except (TimeoutError, httpx.TimeoutException) as error:
        raise DeliveryError(f"Nobody answered within {policy.answer_seconds:g} seconds.") from error
    except (httpx.HTTPError, OSError) as error:
        raise DeliveryError(f"The connection failed ({type(error).__name__}).") from error
    if 200 <= status < 300:  # noqa: PLR2004  # HTTP's own bounds of success
        return
    what = "It answered with a redirect, which is not followed" if 300 <= status < 400 else "It answered"  # noqa: PLR2004  # the same
    raise DeliveryError(f"{what}: status {status}.", is_final=status == _GONE, retry_after_seconds=retry_after)


async def _vetted(url: str, policy: WebhookPolicy) -> tuple[Callee, tuple[Address, ...]]:
    try:
        callee = parse(url, allow_loopback=policy.allow_loopback)
        addresses = await resolve(callee, allow_loopback=policy.allow_loopback)
    except FaultError as error:
        raise DeliveryError(error.fault.detail, is_final=True) from error
    except (OSError, UnicodeError) as error:
        raise DeliveryError("Its name cannot be resolved.") from error
    return callee, addresses[:_MAX_ADDRESSES]


async def _post(
    callee: Callee, addresses: tuple[Address, ...], body: bytes, headers: dict[str, str]
) -> tuple[int, float]:
    """Return the status and, in seconds, what Retry-After says; the addresses are tried in turn."""
    # No proxy and no .netrc of this machine: the connection goes to the address that was vetted.
    async with httpx.AsyncClient(verify=_trust(), trust_env=False, follow_redirects=False, timeout=None) as http:  # noqa: S113  # the caller has one for the whole
        for number, address in enumerate(addresses):
            pinned = callee.url.copy_with(host=str(address))
            request = http.build_request(
                "POST",
                pinned,
                content=body,
                headers={**headers, "Host": callee.url.netloc.decode()},
                # The certificate is still that of the name.
                extensions={"sni_hostname": callee.host},
            )
            try:
                answer = await http.send(request, stream=True)
            except httpx.ConnectError:
                if number + 1 == len(addresses):
                    raise
                continue
            status, after = answer.status_code, answer.headers.get("retry-after", "")
            await answer.aclose()
            return status, min(float(after), _MAX_RETRY_AFTER_SECONDS) if after.isdecimal() else 0.0
    raise DeliveryError("Its name has no address.")


@cache
def _trust() -> ssl.SSLContext:
    """The system's authorities (and SSL_CERT_FILE's), and the public ones where a slim image has none."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
