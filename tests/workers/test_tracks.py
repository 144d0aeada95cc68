"""Jobs with a tracks artifact: segments are the whole, and who is changed does not depend on where one looks."""

from collections.abc import Sequence
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Engine, FaceFusionJob, Quality, Segment, Stage, Timeline, Wav2LipJob
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.contract.options import FaceSelection, SyncMode
from gpu_tasks.contract.tracks import TRACKS_MEDIA_TYPE
from gpu_tasks.draft.models import face_models
from gpu_tasks.facefusion.pipeline import FaceSwap
from gpu_tasks.faces.arrays import Frame
from gpu_tasks.faces.tracks import track_faces
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.writer import VideoWriter
from gpu_tasks.runtime.frames import changed_frames
from gpu_tasks.runtime.pipeline import Bench
from gpu_tasks.wav2lip.pipeline import LipSync
from tests.workers.jobs import SAMPLES

FRAMES = 30
LEFT_PX = 440
# There and back again with some frames over, of a clip that is trimmed at both ends.
TIMELINE_FRAMES = 52
TRIM = Segment(start_frame=3, stop_frame=28)
SEGMENTS = ((0, 17), (17, 20), (20, TIMELINE_FRAMES))


def artifact(name: str) -> Artifact:
    return Artifact(key=f"work/{name}", sha256=sha256(name.encode()).hexdigest(), size_bytes=1, media_type="x/y")


TARGET, TRACKS, VOICE, SOURCE, SYNCED = map(artifact, ("target", "tracks", "voice", "source", "synced"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Two faces side by side, the larger one on the right, tracked."""
    folder = tmp_path_factory.mktemp("bench")
    with VideoReader(SAMPLES / "target.mp4", stop_frame=FRAMES) as reader:
        frames = [frame.pixels for frame in reader]
        fps = reader.info.fps
    smaller = [np.asarray(cv2.resize(frame[:, ::-1], (LEFT_PX, 360)), np.uint8) for frame in reversed(frames)]
    pairs = [np.hstack([left, right[:360]]) for left, right in zip(smaller, frames, strict=True)]
    write(folder / "target.mp4", pairs, fps)
    models = face_models(1)
    track_faces(folder / "target.mp4", folder / "tracks", models.detector, models.mesh)
    inputs = {
        TARGET.key: folder / "target.mp4",
        TRACKS.key: folder / "tracks",
        VOICE.key: SAMPLES / "speech.wav",
        SOURCE.key: SAMPLES / "source.jpg",
        SYNCED.key: folder / "synced.mp4",
    }
    return Bench(folder=folder, inputs=inputs, threads=1, checkpoint=lambda: None, report=lambda *_: None)


def write(path: Path, frames: Sequence[Frame], fps: Fraction) -> None:
    with VideoWriter(
        path, width=frames[0].shape[1], height=frames[0].shape[0], fps=fps, quality=Quality.INTERMEDIATE
    ) as writer:
        for frame in frames:
            writer.write(frame)


@pytest.fixture(scope="module")
def timeline(bench: Bench) -> Timeline:
    with VideoReader(bench.path_of(TARGET)) as reader:
        fps = reader.info.fps
    return Timeline(
        fps=fps, frame_count=TIMELINE_FRAMES, target_frame_count=FRAMES, sync_mode=SyncMode.BOUNCE, trim=TRIM
    )


@pytest.fixture(scope="module")
def lip_sync(timeline: Timeline) -> Wav2LipJob:
    return Wav2LipJob(
        engine=Engine.DRAFT,
        model_revisions=manifest().revisions(Engine.DRAFT, Stage.WAV2LIP),
        target=TARGET,
        driving_audio=VOICE,
        timeline=timeline,
        tracks=TRACKS,
    )


@pytest.fixture(scope="module")
def spoken(bench: Bench, lip_sync: Wav2LipJob) -> list[Frame]:
    with LipSync().change(lip_sync, bench) as change:
        frames = [changed.pixels for changed in changed_frames(lip_sync, bench, change)]
    write(bench.path_of(SYNCED), frames, lip_sync.timeline.fps)
    return frames


@pytest.fixture(scope="module")
def face_swap(timeline: Timeline, spoken: list[Frame]) -> FaceFusionJob:
    return FaceFusionJob(
        engine=Engine.DRAFT,
        model_revisions=manifest().revisions(Engine.DRAFT, Stage.FACEFUSION),
        target=SYNCED,
        sources=(SOURCE,),
        timeline=timeline,
        laid_out=Segment(start_frame=0, stop_frame=len(spoken)),
        tracks=TRACKS,
        face_selection=FaceSelection(mode="one", position=1),
    )


def swapped(job: FaceFusionJob, bench: Bench) -> list[Frame]:
    with FaceSwap().change(job, bench) as change:
        return [changed.pixels for changed in changed_frames(job, bench, change)]


def part(start: int, stop: int) -> dict[str, Segment]:
    return {"segment": Segment(start_frame=start, stop_frame=stop)}


def digests(frames: Sequence[Frame]) -> list[str]:
    return [sha256(frame.tobytes()).hexdigest() for frame in frames]


def test_lip_synced_segments_are_the_frames_of_the_whole(
    bench: Bench, lip_sync: Wav2LipJob, spoken: list[Frame]
) -> None:
    parts: list[Frame] = []
    for start, stop in SEGMENTS:
        job = lip_sync.model_copy(update=part(start, stop))
        with LipSync().change(job, bench) as change:
            parts += [changed.pixels for changed in changed_frames(job, bench, change)]
    assert digests(parts) == digests(spoken)
    with VideoReader(bench.path_of(TARGET)) as reader:
        own = {frame.index: frame.pixels for frame in reader}
    changed = [
        int(np.abs(frame.astype(int) - own[lip_sync.timeline.target_frame(index)]).max(axis=(0, 2)).argmax())
        for index, frame in enumerate(spoken)
        if not np.array_equal(frame, own[lip_sync.timeline.target_frame(index)])
    ]
    # Only the larger face speaks, on the right.
    assert len(changed) > 40
    assert min(changed) > LEFT_PX


def test_swapped_segments_are_the_frames_of_the_whole(bench: Bench, face_swap: FaceFusionJob) -> None:
    whole = swapped(face_swap, bench)
    parts = [frame for bounds in SEGMENTS for frame in swapped(face_swap.model_copy(update=part(*bounds)), bench)]
    assert digests(parts) == digests(whole)
    with VideoReader(bench.path_of(SYNCED)) as reader:
        for frame, after in zip(reader, whole, strict=True):
            differs = np.abs(frame.pixels.astype(int) - after).max(axis=(0, 2))
            assert differs[LEFT_PX:].max() > 20
            assert differs[:LEFT_PX].max() == 0


def test_a_segment_of_its_own_file_is_swapped_like_that_of_the_whole_file(
    bench: Bench, face_swap: FaceFusionJob, tmp_path: Path
) -> None:
    segment = Segment(start_frame=17, stop_frame=23)
    with VideoReader(bench.path_of(SYNCED)) as reader:
        piece = [frame.pixels for frame in reader.frames(17, 23)]
    write(tmp_path / "piece.mp4", piece, face_swap.timeline.fps)
    inputs = {**bench.inputs, SYNCED.key: tmp_path / "piece.mp4"}
    alone = Bench(folder=tmp_path, inputs=inputs, threads=1, checkpoint=lambda: None, report=lambda *_: None)
    job = face_swap.model_copy(update={"segment": segment})
    of_whole = swapped(job, bench)
    of_piece = swapped(job.model_copy(update={"laid_out": segment}), alone)
    # The piece was encoded once more: near, not equal; a swap at another frame's place would be far.
    assert max(float(np.abs(a.astype(int) - b).mean()) for a, b in zip(of_whole, of_piece, strict=True)) < 1.5


def test_a_swap_without_lip_sync_takes_the_tracked_faces(bench: Bench, face_swap: FaceFusionJob) -> None:
    job = face_swap.model_copy(
        update={"target": TARGET, "laid_out": None, "segment": Segment(start_frame=30, stop_frame=34)}
    )
    assert len(swapped(job, bench)) == 4


def test_tracks_of_another_video_are_refused(bench: Bench, lip_sync: Wav2LipJob) -> None:
    for change in ({"target_frame_count": FRAMES + 1}, {"fps": lip_sync.timeline.fps + 1}):
        job = lip_sync.model_copy(update={"timeline": lip_sync.timeline.model_copy(update=change)})
        with pytest.raises(FaultError) as caught, LipSync().change(job, bench):
            pass
        assert caught.value.fault.code is FaultCode.REQUEST_INVALID


def test_tracks_are_fetched_with_the_other_inputs(lip_sync: Wav2LipJob, face_swap: FaceFusionJob) -> None:
    assert LipSync().inputs(lip_sync) == (TARGET, VOICE, TRACKS)
    assert FaceSwap().inputs(face_swap) == (SYNCED, SOURCE, TRACKS)
    assert TRACKS_MEDIA_TYPE.startswith("application/")
