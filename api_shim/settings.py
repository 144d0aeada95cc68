"""Settings of the shim, read from the environment once when its process starts."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from blocks.settings import OrchestratorSettings
from gpu_tasks.contract.artifacts import UPLOADS

_MEGABYTE = 1024 * 1024
_ORIGIN = re.compile(r"https?://[a-z0-9.\-\[\]:]+")


class ShimSettings(OrchestratorSettings):
    """What the shim needs besides what all processes around Prefect need; contract.md's names and defaults."""

    # Required: without it Prefect's client would start a server of its own inside this process.
    prefect_api_url: str = Field(validation_alias="PREFECT_API_URL", pattern=r"^https?://")

    api_secret: SecretStr | None = Field(default=None, validation_alias="FF_API_SECRET")
    # Without a secret everybody is let in, as in the original service; with this only API keys are.
    require_key: bool = Field(default=False, validation_alias="LIPSWAP_API_REQUIRE_KEY")
    requests_per_minute: int = Field(default=600, gt=0, validation_alias="LIPSWAP_API_REQUESTS_PER_MINUTE")
    max_tasks_per_key: int = Field(default=20, gt=0, le=150, validation_alias="LIPSWAP_API_MAX_TASKS_PER_KEY")
    # Each open stream of events costs memory, and a process has only so many connections.
    max_listeners: int = Field(default=1000, gt=0, validation_alias="LIPSWAP_API_MAX_LISTENERS")
    # As the document says; our client gives up on what misses two, and a listener that has gone is noticed.
    heartbeat_seconds: float = Field(default=15.0, gt=0, le=15, validation_alias="LIPSWAP_API_HEARTBEAT_SECONDS")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(default=(), validation_alias="LIPSWAP_API_CORS_ORIGINS")
    # Whoever sends the head or the body of a request more slowly holds a connection for nothing.
    head_seconds: float = Field(default=10.0, gt=0, validation_alias="LIPSWAP_API_HEAD_SECONDS")
    body_seconds: float = Field(default=30.0, gt=0, validation_alias="LIPSWAP_API_BODY_SECONDS")
    host: str = Field(default="127.0.0.1", validation_alias="LIPSWAP_API_HOST")
    port: int = Field(default=8000, ge=0, le=65535, validation_alias="LIPSWAP_API_PORT")
    # 8 MB of sound are 10.7 MB in base64, and the rest of a request is small.
    max_json_bytes: int = Field(default=12 * _MEGABYTE, gt=0, validation_alias="LIPSWAP_API_MAX_JSON_BYTES")
    max_wait_seconds: float = Field(default=3600.0, gt=0, validation_alias="LIPSWAP_API_MAX_WAIT_SECONDS")

    # What a small flow finds out is waited for at the door; the largest file is fetched and read in this time.
    max_answer_seconds: float = Field(default=120.0, gt=0, validation_alias="LIPSWAP_API_MAX_ANSWER_SECONDS")

    # Where the workers' models lie, if they are on this machine, as in the local stack: what is missing is then said
    # before a run exists. Not LIPSWAP_WEIGHTS, which names a place on a worker's own machine.
    weights: Path | None = Field(default=None, validation_alias="LIPSWAP_LOCAL_WEIGHTS")

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _are_origins(cls, told: object) -> object:
        """Origins separated by commas; a browser compares them letter by letter, so there is no path and no `*`."""
        origins = [part.strip() for part in told.split(",") if part.strip()] if isinstance(told, str) else told
        if isinstance(origins, list) and not all(_ORIGIN.fullmatch(origin) for origin in origins):
            raise ValueError("LIPSWAP_API_CORS_ORIGINS holds origins such as https://app.example.com, without a path")
        return origins

    @property
    def max_upload_bytes(self) -> int:
        """The largest body `/storage/upload` takes: the largest file of any kind and some room for the form around."""
        return max(self.max_video_bytes, self.max_audio_bytes, self.max_image_bytes) + _MEGABYTE

    def max_bytes_of(self, key: str) -> int:
        """How large an upload under `key` may be; results, which may be a target again, are videos."""
        if key.startswith(f"{UPLOADS}audio/"):
            return self.max_audio_bytes
        if key.startswith(f"{UPLOADS}source/"):
            return self.max_image_bytes
        return self.max_video_bytes
