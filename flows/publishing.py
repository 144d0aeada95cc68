"""The last stage: which files leave, under which keys, and what their credentials say."""

from collections.abc import Sequence
from typing import NamedTuple

from flows.footage import Footage, Whole
from flows.parts import Part
from flows.remote import JobDone
from flows.request import PipelineRequest
from flows.signing import Publication, Published
from gpu_tasks.contract.artifacts import OUTPUTS, Artifact
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
    whole: Artifact,
    lip_synced: Artifact | None,
    part: Part,
    *,
    task_id: str,
    consent_id: str | None,
) -> Leaving:
    """Decide what is published. The intermediate is an output as well: it is signed, with its one stage.

    Args:
        request: Names the keys.
        footage: What was handed in.
        whole: The result.
        lip_synced: The lip-synced video where it is kept.
        part: Any part of the footage: engine and revisions are the same for all.
        task_id: Whose files they are.
        consent_id: The declaration that covers them.
    """
    intermediate = None
    if lip_synced is not None and part.synced is not None:
        intermediate = Publication(
            artifact=lip_synced,
            output_key=request.wav2lip_output_key or f"{request.wav2lip.output_prefix}/{task_id}.mp4",
            task_id=task_id,
            credential=_credential(task_id, footage, (part.synced,), consent_id),
        )
    result = Publication(
        artifact=whole,
        output_key=request.output_key or f"{OUTPUTS}{task_id}/result.mp4",
        task_id=task_id,
        credential=_credential(task_id, footage, part.done, consent_id),
    )
    return Leaving(result, intermediate)


def result_of(whole: Whole, encoder: str, result: Published, intermediate: Published | None = None) -> ResultRecord:
    """Return what the record says of the published files."""
    video = whole.media.video
    kept = intermediate and {Stage.WAV2LIP.value: IntermediateResult(output_key=intermediate.artifact.key)}
    return ResultRecord(
        output_key=result.artifact.key,
        duration_sec=round(video.duration_seconds, 3) if video else 0.0,
        bytes_uploaded=result.artifact.size_bytes,
        encoder=encoder,
        audio_merge="merged" if whole.media.audio else "none",
        sha256=result.artifact.sha256,
        intermediate=kept,
    )


def keeps_intermediate(request: PipelineRequest) -> bool:
    """Lip-sync alone has no intermediate, unless the caller named a key for it."""
    return request.retain_intermediate and (request.wants_face_swap or request.wav2lip_output_key is not None)


def _credential(task_id: str, footage: Footage, done: Sequence[JobDone], consent_id: str | None) -> Credential:
    receipts = [each.receipt for each in done]
    stages = {receipt.stage for receipt in receipts}
    handed_in = footage.handed_in
    used = [InputClaim.of(Role.TARGET, footage.target, handed_in=handed_in.target)]
    if Stage.WAV2LIP in stages and footage.audio is not None:
        used.append(InputClaim.of(Role.DRIVING_AUDIO, footage.audio, handed_in=handed_in.audio))
    if Stage.FACEFUSION in stages:
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
