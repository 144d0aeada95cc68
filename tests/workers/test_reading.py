from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.faults import Fault, FaultCode, FaultError
from gpu_tasks.contract.jobs import CONTRACT_VERSION, Engine, Stage, Timeline, Wav2LipJob, fingerprint
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.contract.media import FaceCoverage, VideoInfo
from gpu_tasks.contract.receipts import JobReply, Receipt
from gpu_tasks.facefusion.pipeline import FaceSwap
from gpu_tasks.runtime.reading import read_job
from gpu_tasks.wav2lip.pipeline import LipSync


@pytest.fixture
def job() -> Wav2LipJob:
    def artifact(name: str) -> Artifact:
        return Artifact(key=f"uploads/{name}", sha256="a" * 64, size_bytes=1, media_type="video/mp4")

    return Wav2LipJob(
        engine=Engine.DRAFT,
        model_revisions=manifest().revisions(Engine.DRAFT, Stage.WAV2LIP),
        target=artifact("target.mp4"),
        driving_audio=artifact("voice.wav"),
        timeline=Timeline(fps="30000/1001", frame_count=30, target_frame_count=12),
    )


@pytest.fixture
def receipt(job: Wav2LipJob) -> Receipt:
    return Receipt(
        fingerprint=fingerprint(job),
        stage=Stage.WAV2LIP,
        attempt=1,
        execution=1,
        artifact=job.target,
        video=VideoInfo(width=2, height=2, fps=Fraction(25), frame_count=1, duration_seconds=0.04, codec="h264"),
        has_audio=False,
        faces=FaceCoverage(frames_looked_at=1, frames_with_face=1),
        engine=Engine.DRAFT,
        model_revisions=job.model_revisions,
        encoder="libx264",
        work_seconds=1.0,
        job_id="a-job",
        worker_id="a-worker",
        finished_at=datetime(2026, 11, 26, tzinfo=UTC),
    )


NEURAL = {"engine": "neural", "model_revisions": manifest().revisions(Engine.NEURAL, Stage.WAV2LIP)}


def test_a_job_comes_out_as_it_was_sent(job: Wav2LipJob) -> None:
    assert read_job({"job": job.model_dump(mode="json")}, LipSync()) == job


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"model_revisions": {"draft-wav2lip": "0"}}, FaultCode.REVISION_MISMATCH, "draft-wav2lip, face_detection"),
        ({"contract_version": CONTRACT_VERSION + 1, "news": 1}, FaultCode.CONTRACT_MISMATCH, "This worker speaks"),
        ({"news": 1}, FaultCode.CONTRACT_MISMATCH, "news"),
        ({"options": {"news": 1}}, FaultCode.CONTRACT_MISMATCH, "options.news"),
        ({"news": 1, "target": None}, FaultCode.REQUEST_INVALID, "target"),
        ({"target": None}, FaultCode.REQUEST_INVALID, "target"),
        ({"stage": "assemble"}, FaultCode.REQUEST_INVALID, "stage"),
        ({"options": {"blending": True}}, FaultCode.REQUEST_INVALID, "options.blending"),
        ({"engine": "neural"}, FaultCode.REVISION_MISMATCH, "neural-wav2lip"),
        (NEURAL, FaultCode.ENGINE_UNAVAILABLE, "has no models"),
        ({"laid_out": {"start_frame": 1, "stop_frame": 30}}, FaultCode.REQUEST_INVALID, "hold the frames"),
        ({"timeline": {"fps": "25", "frame_count": 1, "target_frame_count": 1,
                       "trim": {"start_frame": 0, "stop_frame": 2}}}, FaultCode.REQUEST_INVALID, "after the target"),
    ],
    ids=["revisions", "version", "unknown", "unknown-option", "unknown-and-wrong", "no-target",
         "stage", "type", "engine", "no-models", "laid-out", "trim"],
)  # fmt: skip
def test_a_job_that_this_worker_cannot_do_is_refused_by_name(
    job: Wav2LipJob, change: dict[str, Any], code: FaultCode, says: str
) -> None:
    with pytest.raises(FaultError) as caught:
        read_job({"job": job.model_dump(mode="json") | change}, LipSync())
    assert caught.value.fault.code is code
    assert says in caught.value.fault.detail


def test_a_job_of_the_other_stage_is_refused(job: Wav2LipJob) -> None:
    with pytest.raises(FaultError, match="does facefusion, not wav2lip") as caught:
        read_job({"job": job.model_dump(mode="json")}, FaceSwap())
    assert caught.value.fault.code is FaultCode.REQUEST_INVALID


@pytest.mark.parametrize("wire", [{}, {"nothing": 1}, {"job": "text"}, {"job": {}}, {"job": {"stage": "wav2lip"}}])
def test_an_input_of_another_form_is_refused(wire: dict[str, Any]) -> None:
    with pytest.raises(FaultError) as caught:
        read_job(wire, LipSync())
    assert caught.value.fault.code is FaultCode.REQUEST_INVALID


def test_a_refusal_never_repeats_a_value(job: Wav2LipJob) -> None:
    wire = job.model_dump(mode="json") | {"task_id": {"password": "hunter2"}}
    with pytest.raises(FaultError) as caught:
        read_job({"job": wire}, LipSync())
    assert "hunter2" not in caught.value.fault.detail


def test_what_a_newer_release_says_more_in_a_reply_is_not_in_the_way() -> None:
    fault = Fault(code=FaultCode.OUT_OF_MEMORY, detail="It was too large.")
    said = JobReply(fault=fault).model_dump(mode="json")

    assert JobReply.model_validate(said | {"news": 1, "fault": said["fault"] | {"news": 1}}).fault == fault


def test_what_a_newer_release_leaves_in_the_bucket_is_read(receipt: Receipt) -> None:
    """After a way back, or beside a canary: receipts are results."""
    said = receipt.model_dump(mode="json")
    said = {name: value | {"news": 1} if name in {"video", "faces"} else value for name, value in said.items()}

    assert Receipt.model_validate(said | {"news": 1}) == receipt
