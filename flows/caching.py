"""When a task's result of an earlier run is used again: by what is asked, never by which run asks.

Prefect's default policy puts the run's id into the key, so that no other run ever finds the result.
"""

from datetime import timedelta
from typing import Any

from prefect.cache_policies import CacheKeyFnPolicy
from prefect.context import TaskRunContext
from pydantic import BaseModel

from gpu_tasks.contract.jobs import CONTRACT_VERSION, FaceFusionJob, Stage, Wav2LipJob, digest_of, fingerprint

# Shorter than the lifecycle of work/ in the bucket: a reused result still names objects that are there.
CACHE_TIME = timedelta(days=3)


def _job_key(_context: TaskRunContext, inputs: dict[str, Any]) -> str | None:
    """Key of a GPU job: its fingerprint, under which the bucket keeps its receipt, too."""
    job: Wav2LipJob | FaceFusionJob = inputs["job"]
    return f"{job.stage}/{fingerprint(job)}"


def _uploads_key(_context: TaskRunContext, inputs: dict[str, Any]) -> str | None:
    return _digest_key(Stage.INGEST, inputs["uploads"])


def _assembly_key(_context: TaskRunContext, inputs: dict[str, Any]) -> str | None:
    return _digest_key(Stage.ASSEMBLE, inputs["assembly"])


def _inspected_key(_context: TaskRunContext, inputs: dict[str, Any]) -> str | None:
    return _digest_key("inspect", inputs["inspected"])


def _digest_key(stage: Stage | str, asked: BaseModel) -> str:
    return f"{stage}/{digest_of([CONTRACT_VERSION, asked.model_dump(mode='json')])}"


BY_FINGERPRINT = CacheKeyFnPolicy(cache_key_fn=_job_key)
BY_UPLOADS = CacheKeyFnPolicy(cache_key_fn=_uploads_key)
BY_ASSEMBLY = CacheKeyFnPolicy(cache_key_fn=_assembly_key)
BY_INSPECTED = CacheKeyFnPolicy(cache_key_fn=_inspected_key)
