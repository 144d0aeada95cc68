"""A shim for tests: the real process, or the same app under uvicorn in a thread where many set-ups are tried."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from api_shim.app import create_app
from api_shim.patience import protocol
from api_shim.settings import ShimSettings
from deployments.local.addresses import StackAddresses
from tests.ports import held_port
from tests.waiting import wait_until

Environment = dict[str, str]
# Nothing listens on port 1: a connection is refused at once.
NOBODY = "127.0.0.1:1"
PREFIX = "ff:task"
HOOK_TOKEN = "a-token-that-nobody-guesses"
# How long an answer may take on a busy machine, and how long the door is asked to wait for an end.
ANSWER_SECONDS = 90.0
WAIT = "60"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def environment_of(addresses: StackAddresses) -> Environment:
    """The environment variables of a shim before the servers at `addresses`."""
    return {
        "PREFECT_API_URL": addresses.prefect_api_url,
        "R2_ENDPOINT": addresses.s3_endpoint,
        "R2_BUCKET": addresses.s3_bucket,
        "R2_REGION": addresses.s3_region,
        "R2_ACCESS_KEY_ID": addresses.s3_access_key_id,
        "R2_SECRET_ACCESS_KEY": addresses.s3_secret_access_key.get_secret_value(),
        "JOBSTORE_REDIS_URL": addresses.redis_url.get_secret_value(),
        "RUNPOD_API_KEY": "rp-key-of-tests",
        "RUNPOD_WAV2LIP_ENDPOINT": "wav2lip",
        "RUNPOD_FACEFUSION_ENDPOINT": "facefusion",
        "LIPSWAP_ALLOW_DRAFT": "true",
        "LIPSWAP_RUNPOD_HOOK_TOKEN": HOOK_TOKEN,
        "LIPSWAP_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "LIPSWAP_WEBHOOK_LOOPBACK": "true",
        "LIPSWAP_MAX_IMAGE_BYTES": "4096",
        "LIPSWAP_MAX_AUDIO_BYTES": str(2 * 1024 * 1024),
        "LIPSWAP_MAX_VIDEO_BYTES": str(2 * 1024 * 1024),
    }


def settings_of(environment: Environment) -> ShimSettings:
    """The settings that a process with exactly this environment would read."""
    fields: dict[str, Any] = {name: value for name, value in environment.items() if not name.startswith("R2_")}
    r2 = {name.removeprefix("R2_").lower(): value for name, value in environment.items() if name.startswith("R2_")}
    return ShimSettings.model_validate({**fields, "r2": r2})


@contextmanager
def shim_process(environment: Environment, folder: Path) -> Iterator[tuple[str, Path]]:
    """`python -m api_shim`; yields its address and its log file."""
    log_path = folder / "shim.log"
    with held_port() as port, log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "api_shim"],
            env={
                **environment,
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "PREFECT_HOME": str(folder),
                "LIPSWAP_API_PORT": str(port),
            },
            cwd=folder,
            stdout=log,
            stderr=log,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: process.poll() is not None or _is_up(url), seconds=120, what="the shim answers")
            yield url, log_path
        finally:
            process.terminate()
            process.wait(timeout=60)


@contextmanager
def shim_thread(settings: ShimSettings) -> Iterator[str]:
    """The same app under uvicorn in a thread; yields its address."""
    config = uvicorn.Config(
        create_app(settings),
        port=0,
        http=protocol(settings.head_seconds),
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    # uvicorn would take the signals of the whole test run.
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started, what="the shim in a thread has started")
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=60)


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=10).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
