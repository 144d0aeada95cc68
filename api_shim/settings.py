"""Settings of the shim, read from the environment once when its process starts."""

from pathlib import Path

from pydantic import Field, SecretStr

from blocks.settings import OrchestratorSettings
from gpu_tasks.contract.artifacts import UPLOADS

_MEGABYTE = 1024 * 1024


class ShimSettings(OrchestratorSettings):
    """What the shim needs besides what all processes around Prefect need; contract.md's names and defaults."""

    # Required: without it Prefect's client would start a server of its own inside this process.
    prefect_api_url: str = Field(validation_alias="PREFECT_API_URL", pattern=r"^https?://")

    api_secret: SecretStr | None = Field(default=None, validation_alias="FF_API_SECRET")
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
