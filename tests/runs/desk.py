"""Where uploads are handed in for ingest, with the real bucket and without worker and server around."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from numpy.typing import NDArray

from blocks.policy import PipelinePolicy
from flows import planning
from flows.cpu_stages import assemble, ingest
from flows.footage import Footage, Uploads
from flows.remote import JobDone
from flows.request import PipelineRequest
from gpu_tasks.contract.jobs import Engine, Quality, Segment, Stage
from gpu_tasks.contract.media import MediaInfo
from gpu_tasks.contract.receipts import Receipt
from gpu_tasks.media.playing import frames_on_timeline
from gpu_tasks.media.probe import probe
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.writer import VideoWriter
from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import ArtifactStore
from tests.media.footage import tone, write_sound, write_video
from tests.runs.conftest import SAMPLES

Pixels = NDArray[np.uint8]
Make = Callable[[Path, list[Pixels]], object]

FRAMES = 15
FPS = Fraction(25)
HEIGHT, WIDTH = 432, 528
RATE = 48_000
POLICY = PipelinePolicy()


@pytest.fixture(scope="module")
def face() -> list[Pixels]:
    """A woman who looks into the camera, HWC uint8 BGR."""
    with VideoReader(SAMPLES / "target.mp4", stop_frame=FRAMES) as reader:
        return [frame.pixels for frame in reader]


@pytest.fixture(scope="module")
def source_key(store: ArtifactStore) -> str:
    return store.put_file(SAMPLES / "source.jpg", "uploads/source/plain.jpg", "image/jpeg").key


@pytest.fixture(scope="module")
def plain_key(store: ArtifactStore, face: list[Pixels], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Fifteen silent frames of 25 a second."""
    path = write_video(tmp_path_factory.mktemp("plain") / "plain.mp4", face)
    return store.put_file(path, "uploads/video/plain.mp4", "video/mp4").key


@pytest.fixture(scope="module")
def voice_key(store: ArtifactStore, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = write_sound(tmp_path_factory.mktemp("voice") / "voice.wav", tone(seconds=1.0))
    return store.put_file(path, "uploads/audio/tone.wav", "audio/wav").key


@dataclass(frozen=True)
class Desk:
    """Where one test's uploads are handed in, without worker and server around."""

    store: ArtifactStore
    r2: R2Settings
    folder: Path
    plain_key: str
    source_key: str

    @property
    def file(self) -> Path:
        return self.folder / "sent"

    def sent(self, kind: str = "video") -> str:
        """Upload the file as a client does, under a name that tells nothing."""
        return self.store.put_file(self.file, f"uploads/{kind}/{uuid4().hex}", "application/octet-stream").key

    def request(self, **fields: Any) -> PipelineRequest:  # noqa: ANN401  # of the request
        """A face swap of the plain clip, but for what is given."""
        return PipelineRequest(**{"target_key": self.plain_key, "source_keys": (self.source_key,), **fields})

    def uploads(self, request: PipelineRequest, policy: PipelinePolicy = POLICY) -> Uploads:
        return planning.look_up(self.store, request, policy)

    def taken_in(self, request: PipelineRequest, policy: PipelinePolicy = POLICY) -> Footage:
        return ingest(self.uploads(request, policy), self.r2)

    def assembled(self, footage: Footage) -> MediaInfo:
        """Put together what a worker would have made, had it changed nothing."""
        self.store.fetch(footage.target, self.folder / "target")
        timeline, video = footage.timeline, footage.target_media.video
        assert video is not None
        made = self.folder / "made.mp4"
        whole = Segment(start_frame=0, stop_frame=timeline.frame_count)
        with VideoWriter(
            made, width=video.width, height=video.height, fps=timeline.fps, quality=Quality.DELIVERY
        ) as writer:
            for _, pixels in frames_on_timeline(self.folder / "target", timeline, whole):
                writer.write(pixels)
        written = probe(made).video
        assert written is not None
        receipt = Receipt(
            fingerprint="0" * 64,
            stage=Stage.FACEFUSION,
            attempt=1,
            execution=1,
            artifact=self.store.put_file(made, f"work/{uuid4().hex}.mp4", "video/mp4"),
            video=written,
            has_audio=False,
            faces=footage.faces.coverage,
            engine=Engine.DRAFT,
            model_revisions={},
            encoder=writer.encoder,
            work_seconds=0,
            job_id="none",
            worker_id="none",
            finished_at=datetime.now(UTC),
        )
        assembly = planning.assembly_of(footage, JobDone(receipt=receipt, paid_by="none", attempts=1))
        self.store.fetch(assemble(assembly, self.r2).artifact, self.folder / "whole.mp4")
        return probe(self.folder / "whole.mp4")


@pytest.fixture
def desk(store: ArtifactStore, r2: R2Settings, tmp_path: Path, plain_key: str, source_key: str) -> Desk:
    return Desk(store, r2, tmp_path, plain_key, source_key)


def turned(path: Path, face: list[Pixels]) -> None:
    write_video(path, (np.rot90(pixels, -1) for pixels in face), rotation=90)
