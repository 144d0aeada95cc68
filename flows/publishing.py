"""The last stage: which files leave, under which keys, and what their credentials say."""

from collections.abc import Mapping
from typing import NamedTuple

from flows.footage import Footage, Whole
from flows.remote import JobDone
from flows.request import PipelineRequest
from flows.signing import Publication, Published
from gpu_tasks.contract.artifacts import OUTPUTS
from gpu_tasks.contract.credentials import InputClaim, Role, RunClaims, StageClaim
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.records import IntermediateResult, ResultRecord
from gpu_tasks.provenance.credential import Credential


class Leaving(NamedTuple):
    """What a run publishes: its result, and the lip-synced video where that is kept."""

    result: Publication
    intermediate: Publication | None


def leaving(  # noqa: PLR0913  # all that a credential tells of
    request: PipelineRequest,
    footage: Footage,
    whole: Whole,
    done: Mapping[Stage, JobDone],
    *,
    task_id: str,
    consent_id: str | None,
) -> Leaving:
    """Decide what is published. The intermediate is an output as well: it is signed, with its one stage."""
    synced = done.get(Stage.WAV2LIP)
    intermediate = None
    if synced is not None and _keeps_intermediate(request):
        intermediate = Publication(
            artifact=synced.receipt.artifact,
            output_key=request.wav2lip_output_key or f"{request.wav2lip.output_prefix}/{task_id}.mp4",
            task_id=task_id,
            credential=_credential(task_id, footage, {Stage.WAV2LIP: synced}, consent_id),
        )
    result = Publication(
        artifact=whole.artifact,
        output_key=request.output_key or f"{OUTPUTS}{task_id}/result.mp4",
        task_id=task_id,
        credential=_credential(task_id, footage, done, consent_id),
    )
    return Leaving(result, intermediate)


def result_of(
    whole: Whole, done: Mapping[Stage, JobDone], result: Published, intermediate: Published | None
) -> ResultRecord:
    """Return what the record says of the published files."""
    last = done.get(Stage.FACEFUSION) or done[Stage.WAV2LIP]
    video = whole.media.video
    kept = intermediate and {Stage.WAV2LIP.value: IntermediateResult(output_key=intermediate.artifact.key)}
    return ResultRecord(
        output_key=result.artifact.key,
        duration_sec=round(video.duration_seconds, 3) if video else 0.0,
        bytes_uploaded=result.artifact.size_bytes,
        encoder=last.receipt.encoder,
        audio_merge="merged" if whole.media.audio else "none",
        sha256=result.artifact.sha256,
        intermediate=kept,
    )


def _credential(task_id: str, footage: Footage, done: Mapping[Stage, JobDone], consent_id: str | None) -> Credential:
    receipts = [done[stage].receipt for stage in (Stage.WAV2LIP, Stage.FACEFUSION) if stage in done]
    handed_in = footage.handed_in
    used = [InputClaim.of(Role.TARGET, footage.target, handed_in=handed_in.target)]
    if Stage.WAV2LIP in done and footage.audio is not None:
        used.append(InputClaim.of(Role.DRIVING_AUDIO, footage.audio, handed_in=handed_in.audio))
    if Stage.FACEFUSION in done:
        sources = zip(footage.sources, handed_in.sources, strict=True)
        used += [InputClaim.of(Role.SOURCE, source, handed_in=digest) for source, digest in sources]
    return Credential(
        claims=RunClaims(
            task_id=task_id,
            stages=tuple(
                StageClaim.model_validate(
                    {"stage": receipt.stage, "engine": receipt.engine, "model_revisions": receipt.model_revisions}
                )
                for receipt in receipts
            ),
            inputs=tuple(used),
            consent_id=consent_id,
        )
    )


def _keeps_intermediate(request: PipelineRequest) -> bool:
    """Lip-sync alone has no intermediate, unless the caller named a key for it."""
    return request.retain_intermediate and (request.wants_face_swap or request.wav2lip_output_key is not None)
