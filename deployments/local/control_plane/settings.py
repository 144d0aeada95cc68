"""What one control plane is told at its start: addresses, endpoints, and RunPod's documented limits."""

import json
import os
import stat
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

_MEGABYTE = 1024 * 1024
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class ConfigError(Exception):
    """The configuration file cannot be used; the message says why in one sentence."""


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Operation(StrEnum):
    """What a client can ask of an endpoint; the value is the word in the path."""

    RUN = "run"
    RUNSYNC = "runsync"
    STATUS = "status"
    STREAM = "stream"
    CANCEL = "cancel"
    RETRY = "retry"
    PURGE_QUEUE = "purge-queue"
    HEALTH = "health"


class Scaler(StrEnum):
    REQUEST_COUNT = "REQUEST_COUNT"
    QUEUE_DELAY = "QUEUE_DELAY"


class EndpointConfig(Settings):
    """One serverless endpoint: the worker program and how many of it may run.

    `scaler_value` is jobs per worker for REQUEST_COUNT and seconds in the queue for QUEUE_DELAY.
    """

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    command: Annotated[tuple[str, ...], Field(min_length=1)]
    cwd: Path | None = None
    env: dict[str, str] = {}
    min_workers: Annotated[int, Field(ge=0)] = 0
    max_workers: Annotated[int, Field(ge=0)] = 1
    idle_seconds: Annotated[float, Field(ge=0)] = 5
    scaler: Scaler = Scaler.REQUEST_COUNT
    scaler_value: Annotated[float, Field(gt=0)] = 1

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        if self.min_workers > self.max_workers:
            raise ValueError("min_workers is above max_workers")
        return self


class RateLimit(Settings):
    per_ten_seconds: int
    concurrent: int | None = None


def _documented_rates() -> dict[Operation, RateLimit]:
    return {
        Operation.RUN: RateLimit(per_ten_seconds=1000, concurrent=200),
        Operation.RUNSYNC: RateLimit(per_ten_seconds=2000, concurrent=400),
        Operation.STATUS: RateLimit(per_ten_seconds=2000, concurrent=400),
        Operation.STREAM: RateLimit(per_ten_seconds=2000, concurrent=400),
        Operation.CANCEL: RateLimit(per_ten_seconds=100, concurrent=20),
        Operation.PURGE_QUEUE: RateLimit(per_ten_seconds=2),
    }


class Limits(Settings):
    """RunPod's documented limits (operation reference, endpoint configurations).

    `max_requeues` is not documented: what the service does after a worker's second death is unverified.
    """

    run_bytes: int = 10 * _MEGABYTE
    runsync_bytes: int = 20 * _MEGABYTE
    result_bytes: int = 64 * _MEGABYTE
    execution_timeout_ms: int = 600_000
    shortest_execution_timeout_ms: int = 5_000
    ttl_ms: int = 86_400_000
    shortest_ttl_ms: int = 10_000
    longest_ms: int = 7 * 86_400_000
    async_retention_seconds: float = 1800
    sync_retention_seconds: float = 60
    runsync_wait_ms: int = 90_000
    shortest_wait_ms: int = 1_000
    longest_wait_ms: int = 300_000
    webhook_attempts: int = 3
    webhook_pause_seconds: float = 10
    webhook_timeout_seconds: float = 10
    max_requeues: int = 1
    rates: dict[Operation, RateLimit] = Field(default_factory=_documented_rates)


class Timings(Settings):
    """How the plane itself waits.

    The SDK gives up a long poll after 90 s, so a hold is far shorter. A worker that is told to stop a job and
    does not ask for stops again within `kill_grace_seconds` is blocked by a synchronous handler and killed; one
    that asks has `cleanup_grace_seconds` to let the job go.
    """

    poll_hold_seconds: Annotated[float, Field(gt=0, lt=90)] = 25
    stop_repeat_seconds: float = 0.25
    kill_grace_seconds: float = 5
    cleanup_grace_seconds: float = 15
    tick_seconds: float = 0.1
    ping_interval_seconds: Annotated[int, Field(ge=1)] = 1
    missed_pings: Annotated[int, Field(ge=1)] = 3
    longest_backoff_seconds: float = 30


class ControlPlaneConfig(Settings):
    host: IPv4Address = IPv4Address("127.0.0.1")
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    api_key: Annotated[SecretStr, Field(min_length=8)]
    address_file: Path
    database: Path
    log_dir: Path
    endpoints: Annotated[tuple[EndpointConfig, ...], Field(min_length=1)]
    limits: Limits = Limits()
    timings: Timings = Timings()

    @model_validator(mode="after")
    def _local_and_unambiguous(self) -> Self:
        if not self.host.is_loopback:
            raise ValueError("host is not a loopback address")
        if len({endpoint.id for endpoint in self.endpoints}) != len(self.endpoints):
            raise ValueError("two endpoints have the same id")
        return self


def read_config(path: Path) -> ControlPlaneConfig:
    """Read and check the file, which holds the API key and so must be its owner's alone.

    Raises:
        ConfigError: unreadable, readable by others, or invalid.
    """
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if mode & _OTHERS:
        raise ConfigError(f"{path} holds an API key but others may read it: chmod 600")
    try:
        return ControlPlaneConfig.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ConfigError(f"{path}: {where}: {first['msg']}") from error


def write_config(path: Path, config: ControlPlaneConfig) -> None:
    """Write what `read_config` reads, from its first byte on readable by its owner only."""
    document = config.model_dump(mode="json") | {"api_key": config.api_key.get_secret_value()}
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2)
