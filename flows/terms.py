"""For how long, and at what price, an attempt is submitted: as the job needs, never longer than allowed."""

from collections.abc import Mapping
from types import MappingProxyType

from blocks.runpod import RunPodEndpoint
from blocks.runpod_client import JobPolicy
from flows.ledger import Terms
from gpu_tasks.contract.jobs import FaceFusionJob, Stage, Wav2LipJob
from gpu_tasks.contract.receipts import Claim

# Time for a cold worker to fetch inputs and load models, and the most that a frame may take. Generous on purpose: it is
# the limit after which RunPod stops a worker that hangs, and what is reserved from a budget, not an estimate. It holds
# for the draft engine on two busy cores as well as for the neural ones on the smallest GPU of the price table.
_START_SECONDS = 120.0
_FRAME_SECONDS: Mapping[Stage, float] = MappingProxyType({Stage.WAV2LIP: 0.5, Stage.FACEFUSION: 1.0})
_LEAST_EXECUTION_SECONDS = 5.0
_LEAST_LIFE_SECONDS = 10.0
_MOST_LIFE_SECONDS = 7 * 86400.0
# RunPod starts a job whose worker died once more: its life must last for both.
_EXECUTIONS = 2
_SLACK_SECONDS = 60.0


def terms_of(
    job: Wav2LipJob | FaceFusionJob,
    endpoint: RunPodEndpoint,
    endpoint_id: str,
    *,
    left_seconds: float,
    counts_money: bool = False,
) -> Terms:
    """Return the terms of an attempt of `job` that is submitted now.

    Args:
        job: What to compute.
        endpoint: What the deployment allows.
        endpoint_id: Where.
        left_seconds: Time until the run's deadline or the job's time limit, which the execution must not outlast.
        counts_money: Whether a price is needed.

    Raises:
        FaultError: PRICE_UNKNOWN.
    """
    execution = _START_SECONDS + job.frames.frame_count * _FRAME_SECONDS[job.stage]
    execution = max(_LEAST_EXECUTION_SECONDS, min(execution, endpoint.job_timeout_seconds, left_seconds))
    life = endpoint.queue_timeout_seconds + _EXECUTIONS * execution + _SLACK_SECONDS
    return Terms(
        endpoint_id=endpoint_id,
        life_seconds=round(max(_LEAST_LIFE_SECONDS, min(life, _MOST_LIFE_SECONDS)), 3),
        execution_seconds=round(execution, 3),
        usd_per_second=endpoint.price(is_needed=counts_money),
    )


def policy_of(claim: Claim) -> JobPolicy:
    """Return the terms of a claim as the limits that RunPod itself enforces."""
    return JobPolicy(
        execution_seconds=claim.execution_seconds or _LEAST_EXECUTION_SECONDS,
        life_seconds=claim.life_seconds or _LEAST_LIFE_SECONDS,
    )
