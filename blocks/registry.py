"""The block documents of a deployment: their names, and how they are made from settings.

Documents are written by `deployments.deploy` and loaded by name at run time; between two deploys an operator may edit
them in the Prefect UI.
"""

from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from blocks.bounds import BudgetBounds, MediaBounds, SegmentBounds
from blocks.job_store import JobStore
from blocks.policy import PipelinePolicy
from blocks.r2 import R2Bucket, r2_credentials
from blocks.runpod import RunPodEndpoint
from blocks.settings import OrchestratorSettings
from blocks.webhooks import WebhookPolicy
from gpu_tasks.contract.artifacts import RESULTS
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.quality import QualityPolicy

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

CREDENTIALS = "lipswap-r2"
MEDIA = "lipswap-media"
TASK_RESULTS = "lipswap-results"
WAV2LIP = "lipswap-wav2lip"
FACEFUSION = "lipswap-facefusion"
JOBS = "lipswap-jobs"
POLICY = "lipswap-policy"
PROVENANCE = "lipswap-provenance"
WEBHOOKS = "lipswap-webhooks"

# How flows name the storage of their task results before any block is loaded.
RESULT_STORAGE = f"{R2Bucket.get_block_type_slug()}/{TASK_RESULTS}"

ENDPOINTS = {Stage.WAV2LIP: WAV2LIP, Stage.FACEFUSION: FACEFUSION}


async def register(settings: OrchestratorSettings, *, client: "PrefectClient") -> None:
    """Write every block type and document; running it again brings all back to the settings."""
    credentials = r2_credentials(settings.r2)
    # Saved first, so that both buckets refer to one document and a new key is entered in one place.
    await credentials.asave(CREDENTIALS, overwrite=True, client=client)
    for name, folder in ((MEDIA, ""), (TASK_RESULTS, RESULTS)):
        bucket = R2Bucket(
            bucket_name=settings.r2.bucket,
            credentials=credentials,
            bucket_folder=folder,
            public_base_url=settings.r2.public_base_url,
            presign_expiry_seconds=settings.r2.presign_expiry,
        )
        await bucket.asave(name, overwrite=True, client=client)
    for stage, document in ENDPOINTS.items():
        await _endpoint(stage, settings).asave(document, overwrite=True, client=client)
    jobs = JobStore(
        redis_url=settings.jobstore_redis_url, prefix=settings.jobstore_prefix, ttl_seconds=settings.jobstore_ttl
    )
    await jobs.asave(JOBS, overwrite=True, client=client)
    policy = PipelinePolicy(
        draft_allowed=settings.allow_draft,
        quality=QualityPolicy(**settings.quality.model_dump()),
        neural_ready=settings.neural_ready,
        **settings.model_dump(
            include={*MediaBounds.model_fields, *BudgetBounds.model_fields, *SegmentBounds.model_fields}
        ),
    )
    await policy.asave(POLICY, overwrite=True, client=client)
    webhooks = WebhookPolicy(
        secrets=settings.webhook_secrets,
        allow_loopback=settings.webhook_loopback,
        retry_seconds=settings.webhook_retry_seconds,
    )
    await webhooks.asave(WEBHOOKS, overwrite=True, client=client)


def _endpoint(stage: Stage, settings: OrchestratorSettings) -> RunPodEndpoint:
    """Return where the settings send a stage's jobs.

    Raises:
        FaultError: PRICE_UNKNOWN: its GPU is not in the price table, or has no name although money is counted.
    """

    def named(name: str) -> Any:  # noqa: ANN401  # a field of the settings
        return getattr(settings, f"runpod_{stage}_{name}")

    canary, _, percent = (named("canary") or "").partition(":")
    endpoint = RunPodEndpoint(
        api_base=settings.runpod_api_base,
        # A block document holds no null secret: empty means not set up.
        api_key=settings.runpod_api_key or SecretStr(""),
        endpoint_id=named("endpoint") or "",
        fallback_endpoint_id=named("fallback") or "",
        canary_endpoint_id=canary,
        canary_percent=int(percent or 0),
        gpu_type=named("gpu") or "",
        max_jobs=named("max_jobs"),
        webhook_url=settings.runpod_webhook_url,
        poll_interval_seconds=settings.runpod_poll_interval,
        job_timeout_seconds=settings.runpod_job_timeout,
        queue_timeout_seconds=settings.runpod_queue_timeout,
    )
    # Refused here, not by the first run that has to pay.
    endpoint.price(is_needed=settings.counts_money and endpoint.is_configured)
    return endpoint
