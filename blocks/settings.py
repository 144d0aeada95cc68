"""Settings of the processes around Prefect (shim, orchestrator worker, deploy), read once at a process entry.

The names and meanings of the original service's variables keep working; an empty value counts as not set. Behind the
environment stand Prefect's Secret blocks, by `NAME_BLOCK`.
"""

import os
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from blocks.bounds import BudgetBounds, MediaBounds, SegmentBounds
from blocks.logs import LogFormat
from blocks.redis_url import check_redis_url
from blocks.secret_blocks import SecretBlocks
from blocks.webhooks import RETRY_SECONDS, WebhookSecrets
from gpu_tasks.contract.consent import ConsentPolicy
from gpu_tasks.settings import QualitySettings, R2Settings

CANARY_PATTERN = r"^[A-Za-z0-9_-]+:(100|[1-9]?[0-9])$"


class WorkerType(StrEnum):
    """On which kind of Prefect work pool runs are executed."""

    INPROCESS = "inprocess"
    PROCESS = "process"


def _without_slash(address: str) -> str:
    return address.rstrip("/")


def _by_commas(told: object) -> object:
    return tuple(told.split(",")) if isinstance(told, str) else told


class OrchestratorSettings(MediaBounds, BudgetBounds, SegmentBounds, BaseSettings):
    """What `deployments.deploy` writes into blocks, and what a process needs before it can read blocks."""

    # The prefix is for the fields of the bounds; every field here names its variable.
    model_config = SettingsConfigDict(
        env_prefix="LIPSWAP_",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    r2: R2Settings = Field(default_factory=R2Settings)
    quality: QualitySettings = Field(default_factory=QualitySettings)

    runpod_api_key: SecretStr | None = Field(default=None, validation_alias="RUNPOD_API_KEY")
    runpod_api_base: Annotated[str, AfterValidator(_without_slash)] = Field(
        default="https://api.runpod.ai/v2", validation_alias="RUNPOD_API_BASE"
    )
    runpod_wav2lip_endpoint: str | None = Field(default=None, validation_alias="RUNPOD_WAV2LIP_ENDPOINT")
    runpod_facefusion_endpoint: str | None = Field(default=None, validation_alias="RUNPOD_FACEFUSION_ENDPOINT")
    # Where jobs go when the endpoint beside them has no worker for them.
    runpod_wav2lip_fallback: str | None = Field(default=None, validation_alias="RUNPOD_WAV2LIP_FALLBACK")
    runpod_facefusion_fallback: str | None = Field(default=None, validation_alias="RUNPOD_FACEFUSION_FALLBACK")
    # `ENDPOINT:PERCENT`: a new release on a part of the jobs; `lipswap deploy apply` tells the value.
    runpod_wav2lip_canary: str | None = Field(
        default=None, pattern=CANARY_PATTERN, validation_alias="RUNPOD_WAV2LIP_ENDPOINT_CANARY"
    )
    runpod_facefusion_canary: str | None = Field(
        default=None, pattern=CANARY_PATTERN, validation_alias="RUNPOD_FACEFUSION_ENDPOINT_CANARY"
    )
    # What a second costs: a GPU type of gpu_tasks/contract/prices.toml.
    runpod_wav2lip_gpu: str | None = Field(default=None, validation_alias="RUNPOD_WAV2LIP_GPU")
    runpod_facefusion_gpu: str | None = Field(default=None, validation_alias="RUNPOD_FACEFUSION_GPU")
    runpod_wav2lip_max_jobs: int | None = Field(default=None, ge=1, validation_alias="RUNPOD_WAV2LIP_MAX_JOBS")
    runpod_facefusion_max_jobs: int | None = Field(default=None, ge=1, validation_alias="RUNPOD_FACEFUSION_MAX_JOBS")
    runpod_poll_interval: float = Field(default=5.0, gt=0, le=300, validation_alias="RUNPOD_POLL_INTERVAL")
    runpod_job_timeout: float = Field(default=1800.0, gt=0, le=24 * 3600, validation_alias="RUNPOD_JOB_TIMEOUT")

    runpod_queue_timeout: float = Field(default=900.0, gt=0, le=24 * 3600, validation_alias="RUNPOD_QUEUE_TIMEOUT")

    # Where RunPod tells that a job is over: {base}/hooks/runpod/{token}. The token is the only proof that it is RunPod.
    webhook_base_url: Annotated[str, AfterValidator(_without_slash)] | None = Field(
        default=None, validation_alias="LIPSWAP_WEBHOOK_BASE_URL", pattern=r"^https?://"
    )
    runpod_hook_token: SecretStr | None = Field(
        default=None, min_length=16, validation_alias="LIPSWAP_RUNPOD_HOOK_TOKEN"
    )

    log_format: LogFormat = Field(default=LogFormat.TEXT, validation_alias="LIPSWAP_LOG_FORMAT")
    # Where traces are collected, by OpenTelemetry's own name; nowhere when it is not set.
    otel_endpoint: str | None = Field(
        default=None, pattern=r"^https?://", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT"
    )

    # What callers' webhooks are signed with: whsec_..., several separated by spaces. Without one none can be asked for.
    webhook_secrets: WebhookSecrets = Field(default=SecretStr(""), validation_alias="LIPSWAP_WEBHOOK_SECRET")
    webhook_loopback: bool = Field(default=False, validation_alias="LIPSWAP_WEBHOOK_LOOPBACK")
    webhook_retry_seconds: Annotated[tuple[float, ...], NoDecode, BeforeValidator(_by_commas)] = Field(
        default=RETRY_SECONDS, max_length=20, validation_alias="LIPSWAP_WEBHOOK_RETRY_SECONDS"
    )

    # A password stands in the address: SecretStr keeps it out of logs and of the Prefect UI.
    jobstore_redis_url: Annotated[SecretStr, AfterValidator(check_redis_url)] = Field(
        validation_alias="JOBSTORE_REDIS_URL"
    )
    jobstore_prefix: str = Field(default="ff:task", min_length=1, validation_alias="JOBSTORE_PREFIX")
    jobstore_ttl: int = Field(default=604800, gt=0, validation_alias="JOBSTORE_TTL")

    allow_draft: bool = Field(default=False, validation_alias="LIPSWAP_ALLOW_DRAFT")
    neural_ready: bool = Field(default=False, validation_alias="LIPSWAP_NEURAL_READY")
    # How many runs may be on their way in all, over every orchestrator; None leaves it to each one's LIPSWAP_MAX_RUNS.
    pool_runs: int | None = Field(default=None, ge=1, validation_alias="LIPSWAP_POOL_RUNS")
    # Maintenance by Prefect's schedules; a laptop and a test have none.
    schedules: bool = Field(default=False, validation_alias="LIPSWAP_SCHEDULES")
    worker_type: WorkerType = Field(default=WorkerType.INPROCESS, validation_alias="LIPSWAP_WORKER_TYPE")
    cpu_processes: int = Field(default=min(4, os.cpu_count() or 1), ge=1, validation_alias="LIPSWAP_CPU_PROCESSES")
    consent_policy: ConsentPolicy = Field(default=ConsentPolicy.RECORDED, validation_alias="LIPSWAP_CONSENT_POLICY")
    reprocess_cron: str = Field(default="0 3 * * 0", validation_alias="LIPSWAP_REPROCESS_CRON")
    reprocess_unattended: bool = Field(default=False, validation_alias="LIPSWAP_REPROCESS_UNATTENDED")
    alert_url: SecretStr | None = Field(default=None, validation_alias="LIPSWAP_ALERT_URL")
    max_runs: int = Field(default=100, ge=1, validation_alias="LIPSWAP_MAX_RUNS")
    lease_seconds: float = Field(default=15.0, ge=1.0, le=300.0, validation_alias="LIPSWAP_LEASE_SECONDS")
    run_attempts: int = Field(default=4, ge=2, validation_alias="LIPSWAP_RUN_ATTEMPTS")
    drain_seconds: float = Field(default=0.0, ge=0.0, validation_alias="LIPSWAP_DRAIN_SECONDS")
    hand_back_seconds: float = Field(default=4.0, ge=1.0, validation_alias="LIPSWAP_HAND_BACK_SECONDS")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Look into Secret blocks last: in production each secret stands in one place only."""
        return init_settings, env_settings, dotenv_settings, file_secret_settings, SecretBlocks(settings_cls)

    @model_validator(mode="after")
    def _proves_who_calls(self) -> Self:
        if self.webhook_base_url is not None and self.runpod_hook_token is None:
            raise ValueError(
                "LIPSWAP_WEBHOOK_BASE_URL needs LIPSWAP_RUNPOD_HOOK_TOKEN, a secret of 16 characters or more"
            )
        return self

    @property
    def runpod_webhook_url(self) -> SecretStr:
        """The address that RunPod calls, empty when it is not to call."""
        if self.webhook_base_url is None or self.runpod_hook_token is None:
            return SecretStr("")
        return SecretStr(f"{self.webhook_base_url}/hooks/runpod/{self.runpod_hook_token.get_secret_value()}")
