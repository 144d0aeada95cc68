"""Worker processes of the unmodified SDK: their environment, their start, and a death that leaves nothing.

A worker is known by the id in its environment, which its children inherit: the SDK's ping process, which
outlives a kill -9 of its parent, and programs a handler started, even in sessions of their own.
"""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from deployments.local.control_plane.settings import EndpointConfig

WORKER_MARK = "RUNPOD_POD_ID"
INHERITED = (
    "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES",
)  # fmt: skip

_WARDEN = "deployments.local.control_plane.warden"
_WARDEN_SECONDS = 1.0


@dataclass(frozen=True)
class WorkerSurroundings:
    """What all workers of one plane are told. `inherited` is the plane's own environment, of which little is kept."""

    base_url: str
    api_key: str
    home: Path
    ping_interval_seconds: int
    inherited: Mapping[str, str]

    def environment(self, endpoint: EndpointConfig, worker_id: str) -> dict[str, str]:
        """The whole environment of one worker.

        The SDK appends `&name=value` to these addresses, so each needs its `?`; `$ID` and `$RUNPOD_POD_ID` are
        filled in by the SDK. Its start-up checks want a GPU and a host on the internet, hence the two skips.
        """
        root = f"{self.base_url}/v2/{endpoint.id}"
        allowed = {name: value for name, value in self.inherited.items() if name in INHERITED}
        defaults = {
            "HOME": str(self.home),  # a key in ~/.runpod/config.toml would override ours
            "PYTHONUNBUFFERED": "1",
            "RUNPOD_LOG_LEVEL": "INFO",  # DEBUG, the default, prints every handler's output
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "RUNPOD_SKIP_GPU_CHECK": "true",
            "RUNPOD_PING_INTERVAL": str(1000 * self.ping_interval_seconds),
        }
        protocol = {
            WORKER_MARK: worker_id,
            "RUNPOD_ENDPOINT_ID": endpoint.id,
            "RUNPOD_AI_API_KEY": self.api_key,
            "RUNPOD_WEBHOOK_GET_JOB": f"{root}/job-take/$ID?gpu=local",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{root}/job-done/$RUNPOD_POD_ID/$ID?gpu=local",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{root}/job-stream/$RUNPOD_POD_ID/$ID?gpu=local",
            "RUNPOD_WEBHOOK_PING": f"{root}/ping/$RUNPOD_POD_ID",
        }
        return {**allowed, **defaults, **endpoint.env, **protocol}


async def start_worker(endpoint: EndpointConfig, environment: Mapping[str, str], log_file: Path) -> Process:
    """Start the endpoint's command in a session of its own, its output going to `log_file`.

    Raises:
        OSError: the command, its folder or the log cannot be opened.
    """
    with log_file.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *endpoint.command,
            cwd=endpoint.cwd,
            env=environment,
            stdin=DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def kill_group(pid: int) -> None:
    """SIGKILL the session a worker leads; call it only while its leader has not been waited for."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def kill_marked(worker_ids: Collection[str]) -> int:
    """SIGKILL every process whose environment names one of these workers; returns how many there were."""
    killed = 0
    for process in psutil.process_iter() if worker_ids else ():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(WORKER_MARK) in worker_ids:
                process.kill()
                killed += 1
    return killed


class Warden:
    """A process beside the plane that kills the plane's workers if the plane itself is killed.

    It reads worker ids from a pipe which only the plane holds open: its end is the plane's end.
    """

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, inherited: Mapping[str, str]) -> Self:
        allowed = {name: value for name, value in inherited.items() if name in (*INHERITED, "PYTHONPATH")}
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", _WARDEN, stdin=PIPE, env=allowed, start_new_session=True
            )
        )

    def watch(self, worker_id: str) -> None:
        self._tell(f"+{worker_id}\n")

    def release(self, worker_id: str) -> None:
        self._tell(f"-{worker_id}\n")

    async def close(self) -> None:
        """End the pipe and wait for the warden to go."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(_WARDEN_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def _tell(self, line: str) -> None:
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(line.encode())
