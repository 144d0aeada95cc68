"""Single questions to services over the network, each with a deadline and an answer that is never an exception."""

import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import httpx
import redis
from pydantic import SecretStr

from blocks.prefect_refusal import reason_of
from flows.request import DEPLOYMENT, VERIFY_DEPLOYMENT
from gpu_tasks.settings import R2Settings

_SECONDS: Final = 10.0
# A worker beats every 30 s; three are missed before it counts as gone.
_BEAT_SECONDS: Final = 95.0


def clock_skew_seconds(address: str) -> float | None:
    """Return how far this clock is ahead of a server's, None when it does not tell; the answer's way counts half."""
    try:
        asked = datetime.now(UTC)
        answer = httpx.head(address, timeout=_SECONDS)
        told = parsedate_to_datetime(answer.headers["Date"])
    except (httpx.HTTPError, KeyError, ValueError):
        return None
    return (asked + (datetime.now(UTC) - asked) / 2 - told).total_seconds()


def preflight_is_allowed(settings: R2Settings, origin: str) -> bool:
    """Ask the bucket what a browser asks before it uploads from a page; needs no key."""
    with suppress(httpx.HTTPError):
        answer = httpx.request(
            "OPTIONS",
            f"{settings.endpoint}/{settings.bucket}/uploads/video/probe",
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": "PUT",
                "Access-Control-Request-Headers": "content-type",
            },
            timeout=_SECONDS,
        )
        return answer.is_success and answer.headers.get("Access-Control-Allow-Origin") in {origin, "*"}
    return False


def redis_answers(url: SecretStr) -> str | None:
    """Write, read and remove a record; return why that failed, without the address, which holds a password."""
    try:
        with redis.Redis.from_url(
            url.get_secret_value(), socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS
        ) as client:
            client.set("lipswap:doctor", "1", ex=60)
            return None if client.get("lipswap:doctor") == b"1" else "It does not return what was written."
    except redis.AuthenticationError:
        return "It refuses the password."
    except redis.RedisError as error:
        cause = error.__cause__ or error
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"Its certificate is not trusted: {cause.verify_message}."
        return f"It does not answer ({type(error).__name__})."
    except OSError as error:
        return f"It does not answer ({error.strerror or type(error).__name__})."


class PrefectState(NamedTuple):
    """What a Prefect server has of us; with a `reason` it could not be asked."""

    reason: str = ""
    version: str = ""
    missing: Sequence[str] = ()
    workers: int = 0
    can_decrypt: bool | None = None


async def prefect_state() -> PrefectState:
    """Ask the server that the environment names for its version, the deployments and the workers that beat lately."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415  # seconds, and after all cheap questions
    from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError  # noqa: PLC0415  # the same

    try:
        async with get_client(httpx_settings={"timeout": _SECONDS}) as client:
            version = await client.api_version()
            missing = []
            for name in (DEPLOYMENT, VERIFY_DEPLOYMENT):
                try:
                    await client.read_deployment_by_name(name)
                except ObjectNotFound:
                    missing.append(name)
            lately = datetime.now(UTC) - timedelta(seconds=_BEAT_SECONDS)
            workers = 0
            for pool in await client.read_work_pools():
                beats = [worker.last_heartbeat_time for worker in await client.read_workers_for_work_pool(pool.name)]
                workers += sum(1 for beat in beats if beat and beat > lately)
            try:
                await client.read_block_documents(limit=1)
                can_decrypt = True
            except PrefectHTTPStatusError as error:
                if error.response.status_code != HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
                # All that its database can be asked it has answered by now; a document alone needs the key.
                can_decrypt = False
    except httpx.HTTPError as error:
        return PrefectState(reason=reason_of(error))
    return PrefectState(version=version, missing=missing, workers=workers, can_decrypt=can_decrypt)


def days_left(address: str) -> int | str:
    """Return for how many days the certificate at an https address is valid, or why it is not."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    try:
        with (
            socket.create_connection((host, parts.port or 443), timeout=_SECONDS) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=host) as encrypted,
        ):
            told = encrypted.getpeercert()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except OSError as error:
        return error.strerror or type(error).__name__
    until = ssl.cert_time_to_seconds(str(told["notAfter"])) if told else 0.0
    return int((until - datetime.now(UTC).timestamp()) // 86400)
