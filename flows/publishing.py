"""The last stage: results under their final keys, which are never another task's."""

from pydantic import BaseModel, ConfigDict

from flows.errors import PipelineError
from flows.footage import Whole
from flows.remote import JobDone
from flows.request import PipelineRequest
from gpu_tasks.contract.artifacts import OUTPUTS, WORK, Artifact
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Stage, digest_of
from gpu_tasks.contract.records import IntermediateResult, ResultRecord
from gpu_tasks.storage import ArtifactStore


class _Owner(BaseModel):
    """Whose an output key is: written before anything is copied to it."""

    model_config = ConfigDict(frozen=True)

    output_key: str
    task_id: str


def published(
    store: ArtifactStore, task_id: str, request: PipelineRequest, whole: Whole, done: dict[Stage, JobDone]
) -> ResultRecord:
    """Copy the whole, and the lip-synced video where it is kept, to the keys that the request or the task names.

    Doing it again for the same task is no harm.

    Raises:
        PipelineError: OUTPUT_EXISTS when a key belongs to another task.
        StorageError: The bucket is away or has lost the object.
    """
    output_key = request.output_key or f"{OUTPUTS}{task_id}/result.mp4"
    _hand_over(store, whole.artifact, output_key, task_id)
    intermediate: dict[str, IntermediateResult] = {}
    synced = done.get(Stage.WAV2LIP)
    if synced is not None and _keeps_intermediate(request):
        key = request.wav2lip_output_key or f"{request.wav2lip.output_prefix}/{task_id}.mp4"
        _hand_over(store, synced.receipt.artifact, key, task_id)
        intermediate[Stage.WAV2LIP.value] = IntermediateResult(output_key=key)
    last = done.get(Stage.FACEFUSION) or done[Stage.WAV2LIP]
    video = whole.media.video
    return ResultRecord(
        output_key=output_key,
        duration_sec=round(video.duration_seconds, 3) if video else 0.0,
        bytes_uploaded=whole.artifact.size_bytes,
        encoder=last.receipt.encoder,
        audio_merge="merged" if whole.media.audio else "none",
        sha256=whole.artifact.sha256,
        intermediate=intermediate or None,
    )


def _keeps_intermediate(request: PipelineRequest) -> bool:
    """Lip-sync alone has no intermediate, unless the caller named a key for it."""
    return request.retain_intermediate and (request.wants_face_swap or request.wav2lip_output_key is not None)


def _hand_over(store: ArtifactStore, artifact: Artifact, key: str, task_id: str) -> None:
    owner = _Owner(output_key=key, task_id=task_id)
    marker = f"{WORK}{Stage.PUBLISH}/{digest_of(key)}.json"
    # The marker is put before the copy: of two tasks that name one key, one copies and the other is refused.
    if not store.put_json(marker, owner, if_absent=True):
        if store.read_json(marker, _Owner) != owner:
            raise PipelineError(FaultCode.OUTPUT_EXISTS, f"Key: {key}.", stage=Stage.PUBLISH)
    elif store.head(key) is not None:
        # An object from before the markers, or whose marker has expired.
        store.delete(marker)
        raise PipelineError(FaultCode.OUTPUT_EXISTS, f"Key: {key}.", stage=Stage.PUBLISH)
    store.copy(artifact.key, key)
