"""A GPU worker under the real SDK that ends its jobs as a test's script says; it computes nothing.

The script stands among the job's model revisions, so that every script is a job of its own.
"""

import asyncio
import hashlib
import os
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import runpod
from pydantic import TypeAdapter

from gpu_tasks.contract.faults import Fault, FaultCode
from gpu_tasks.contract.jobs import FaceFusionJob, Job, Wav2LipJob, keys_of
from gpu_tasks.contract.media import FaceCoverage, VideoInfo
from gpu_tasks.contract.receipts import JobReply, Progress, Receipt
from gpu_tasks.runtime.ledger import Ledger
from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import connect

_STORE = connect(R2Settings())


async def handler(event: dict[str, Any]) -> dict[str, Any]:
    """Do what the script says for this attempt: `step,step,...`, the last one for all later attempts.

    `slow:SECONDS` takes so long, `held:KEY` until there is an object under the key.
    """
    job: Wav2LipJob | FaceFusionJob = TypeAdapter(Job).validate_python(event["input"]["job"])
    steps = job.model_revisions["script"].split(",")
    step, _, value = steps[min(job.attempt, len(steps)) - 1].partition(":")
    if step in {"raise", "orphan"}:
        _fall_off(job, is_orphan=step == "orphan")
    if step == "slow":
        runpod.serverless.progress_update(event, Progress(sequence=1, done=1, total=2).model_dump(mode="json"))
        await asyncio.sleep(float(value))
    if step == "held":
        await _until_there(value)
    if step in {"marked", "mortal"}:
        marker = Ledger(_STORE, job, job_id=event["id"], worker_id="scripted").start()
        if step == "mortal" and marker.execution == 1:
            os._exit(1)
        await asyncio.sleep(float(value or 0))
    if step == "fault":
        reply = JobReply(fault=Fault(code=FaultCode(value), detail="As the script says."), log_tail=("a last line",))
    elif step == "pretend":
        reply = JobReply(receipt=_receipt(job, event["id"]))
    else:
        receipt = _receipt(job, event["id"])
        pixels = b"somebody else's pixels" if step == "swapped" else _content(job)
        _STORE.put_stream(BytesIO(pixels), receipt.artifact.key, "video/mp4")
        _STORE.put_json(keys_of(job).receipt, receipt, if_absent=True)
        if step == "forgetful":
            return {}
        reply = JobReply(receipt=receipt)
    return reply.model_dump(mode="json", exclude_none=True)


def _fall_off(job: Wav2LipJob | FaceFusionJob, *, is_orphan: bool) -> None:
    if is_orphan:
        _STORE.put_stream(BytesIO(_content(job)), keys_of(job).output(job.attempt, 1), "video/mp4")
    raise RuntimeError(f"the GPU fell off the bus{' after its last frame' if is_orphan else ''}")


async def _until_there(key: str) -> None:
    while await asyncio.to_thread(_STORE.head, key) is None:  # noqa: ASYNC110  # another process puts it there
        await asyncio.sleep(0.1)


def _content(job: Wav2LipJob | FaceFusionJob) -> bytes:
    return f"pixels of {job.model_revisions}".encode()


def _receipt(job: Wav2LipJob | FaceFusionJob, job_id: str) -> Receipt:
    content = _content(job)
    return Receipt.model_validate(
        {
            "fingerprint": keys_of(job).fingerprint,
            "stage": job.stage,
            "attempt": job.attempt,
            "execution": 1,
            "artifact": {
                "key": keys_of(job).output(job.attempt, 1),
                "sha256": hashlib.sha256(content).hexdigest(),
                "size_bytes": len(content),
                "media_type": "video/mp4",
            },
            "video": VideoInfo(width=2, height=2, fps=25, frame_count=1, duration_seconds=0.04, codec="h264"),
            "has_audio": False,
            "faces": FaceCoverage(frames_looked_at=1, frames_with_face=1),
            "engine": job.engine,
            "model_revisions": job.model_revisions,
            "encoder": "libx264",
            "work_seconds": 1.5,
            "job_id": job_id,
            "worker_id": "scripted",
            "finished_at": datetime.now(UTC),
        }
    )


runpod.serverless.start({"handler": handler, "concurrency_modifier": lambda _: 16})
