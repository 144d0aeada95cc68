"""Jobs made from the bundled samples, and what a finished one left behind."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.jobs import Engine, FaceFusionJob, Stage, Timeline, Wav2LipJob, keys_of
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.contract.media import VideoInfo
from gpu_tasks.contract.receipts import JobReply, Receipt
from gpu_tasks.storage import ArtifactStore

SAMPLES = Path(__file__).parents[2] / "samples"


@dataclass(frozen=True)
class Uploads:
    """What a client would have uploaded."""

    target: Artifact
    target_video: VideoInfo
    voice: Artifact
    source: Artifact

    def timeline(self, frame_count: int) -> Timeline:
        """A timeline of any length: the short target is looped."""
        return Timeline(
            fps=self.target_video.fps, frame_count=frame_count, target_frame_count=self.target_video.frame_count
        )

    def lip_sync(self, frame_count: int, **changes: Any) -> Wav2LipJob:  # noqa: ANN401 - fields of the job
        fields: dict[str, Any] = {
            "engine": Engine.DRAFT,
            "model_revisions": manifest().revisions(Engine.DRAFT, Stage.WAV2LIP),
            "target": self.target,
            "driving_audio": self.voice,
            "timeline": self.timeline(frame_count),
        }
        return Wav2LipJob(**{**fields, **changes})

    def face_swap(self, frame_count: int, **changes: Any) -> FaceFusionJob:  # noqa: ANN401 - fields of the job
        fields: dict[str, Any] = {
            "engine": Engine.DRAFT,
            "model_revisions": manifest().revisions(Engine.DRAFT, Stage.FACEFUSION),
            "target": self.target,
            "sources": (self.source,),
            "timeline": self.timeline(frame_count),
        }
        return FaceFusionJob(**{**fields, **changes})


def as_input(job: Wav2LipJob | FaceFusionJob) -> dict[str, Any]:
    return {"job": job.model_dump(mode="json")}


def reply_of(body: dict[str, Any]) -> JobReply:
    """Read the reply in a status body."""
    return JobReply.model_validate(body["output"])


def receipt_of(body: dict[str, Any]) -> Receipt:
    reply = reply_of(body)
    assert reply.receipt is not None, reply.fault
    return reply.receipt


def markers_of(store: ArtifactStore, job: Wav2LipJob | FaceFusionJob) -> list[str]:
    """Names of the start markers that the job's executions left."""
    folder = keys_of(job).folder
    return [key.removeprefix(f"{folder}/") for key in store.keys(f"{folder}/started-")]
