"""Settings of the bucket and of a worker process, read from the environment once at a process entry."""

import os
import tempfile
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gpu_tasks.contract.quality import QualityPolicy

# S3 allows a signature to live for a week at most.
_MAX_PRESIGN_SECONDS = 7 * 24 * 3600


class R2Settings(BaseSettings):
    """How to reach the bucket; any S3 store that keeps conditional puts will do."""

    model_config = SettingsConfigDict(
        env_prefix="R2_", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    endpoint: str
    bucket: str
    access_key_id: str
    secret_access_key: SecretStr
    region: str = "auto"
    public_base_url: str | None = None
    presign_expiry: int = Field(default=900, ge=1, le=_MAX_PRESIGN_SECONDS)

    def public_url(self, key: str) -> str | None:
        """Return the address under which everybody can read `key`, None where there is none."""
        return f"{self.public_base_url.rstrip('/')}/{quote(key)}" if self.public_base_url else None

    @field_validator("endpoint")
    @classmethod
    def _is_an_address(cls, endpoint: str) -> str:
        if not endpoint.startswith(("https://", "http://")):
            raise ValueError("R2_ENDPOINT is an address such as https://<account>.r2.cloudflarestorage.com")
        return endpoint.rstrip("/")


class WorkerSettings(BaseSettings):
    """What a GPU worker needs to know besides the bucket."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=True, hide_input_in_errors=True
    )

    r2: R2Settings = Field(default_factory=R2Settings)
    # RunPod names the worker under this variable; a worker started by hand has none.
    worker_id: str = Field(default="local", validation_alias="RUNPOD_POD_ID")
    scratch_root: Path = Field(
        default=Path(tempfile.gettempdir()) / f"lipswap-worker-{os.getuid()}", validation_alias="LIPSWAP_SCRATCH_ROOT"
    )
    # Per network call: the draft engine's networks are small and gain nothing beyond two (measured).
    threads: int = Field(default=min(2, os.cpu_count() or 1), ge=1, validation_alias="LIPSWAP_WORKER_THREADS")
    otel_endpoint: str | None = Field(
        default=None, pattern=r"^https?://", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT"
    )
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", validation_alias="LIPSWAP_LOG_LEVEL")


class WeightSettings(BaseSettings):
    """Where models lie, and which licences somebody has acknowledged for them (names, separated by commas)."""

    model_config = SettingsConfigDict(env_prefix="LIPSWAP_", env_ignore_empty=True, extra="ignore", frozen=True)

    weights: Path = Path(".lipswap/weights")
    acknowledged_licences: Annotated[frozenset[str], NoDecode] = frozenset()

    @field_validator("acknowledged_licences", mode="before")
    @classmethod
    def _are_separated_by_commas(cls, names: object) -> object:
        if isinstance(names, str):
            return frozenset(name.strip() for name in names.split(",") if name.strip())
        return names


class QualitySettings(QualityPolicy, BaseSettings):
    """What is called good, and how much is measured; in the environment LIPSWAP_QUALITY_ and a field's name."""

    model_config = SettingsConfigDict(env_prefix="LIPSWAP_QUALITY_", env_ignore_empty=True, extra="ignore", frozen=True)
