"""Both stages in one pass give the frames of the two stages run apart."""

from pathlib import Path

import numpy as np
import pytest

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Segment, Timeline
from gpu_tasks.draft.lips import DraftLips
from gpu_tasks.draft.models import FaceModels
from gpu_tasks.draft.one_pass import DraftOrder, Shown, draft_frames, render_draft
from gpu_tasks.draft.source import DraftSource
from gpu_tasks.draft.speech import SAMPLE_RATE, mouth_shapes
from gpu_tasks.draft.swap import DraftSwap
from gpu_tasks.faces.arrays import Frame
from gpu_tasks.faces.finding import with_mouth_of
from gpu_tasks.faces.trackfile import TracksReader
from gpu_tasks.faces.tracks import track_faces
from gpu_tasks.media.audio import load_mono
from gpu_tasks.media.probe import probe
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.writer import VideoWriter
from tests.engine.footage import FPS, SAMPLES

FRAMES = 24
GAP = range(8, 22)


@pytest.fixture(scope="module")
def order(
    models: FaceModels, frames: list[Frame], source: Frame, tmp_path_factory: pytest.TempPathFactory
) -> DraftOrder:
    """Both stages over a clip whose middle shows nobody."""
    folder = tmp_path_factory.mktemp("one-pass")
    target, tracks = folder / "target.mp4", folder / "target.tracks"
    grain = np.random.default_rng(4).integers(60, 200, frames[0].shape, np.uint8)
    with VideoWriter(target, width=grain.shape[1], height=grain.shape[0], fps=FPS) as writer:
        for number in range(FRAMES):
            writer.write(grain if number in GAP else frames[number + 40])
    track_faces(target, tracks, models.detector, models.mesh)
    timeline = Timeline(fps=FPS, frame_count=2 * FRAMES, target_frame_count=FRAMES)
    return DraftOrder(
        target=target, timeline=timeline, tracks=tracks, driving_audio=SAMPLES / "speech.wav", sources=(source,)
    )


@pytest.fixture(scope="module")
def shown(order: DraftOrder, models: FaceModels) -> list[Shown]:
    return list(draft_frames(order, models))


def test_the_frames_are_those_of_the_two_stages_one_after_the_other(
    order: DraftOrder, shown: list[Shown], models: FaceModels, source: Frame
) -> None:
    voice = load_mono(SAMPLES / "speech.wav", sample_rate=SAMPLE_RATE)
    shapes, lips = mouth_shapes(voice, FPS, 2 * FRAMES), DraftLips()
    swap = DraftSwap([DraftSource.from_image(source, models.detector, models.mesh)])
    with VideoReader(order.target) as reader, TracksReader(order.tracks) as tracks:
        for frame in reader.frames(0, 6):
            (face,) = tracks.faces(frame.index)
            opening, spread = float(shapes.opening[frame.index]), float(shapes.spread[frame.index])
            spoken = lips.apply(frame.pixels, face.mesh_468, opening, spread)
            mouth = with_mouth_of(spoken, face, models.mesh)
            apart = swap.apply(spoken, mouth.mesh_468, track_id=None)

            assert (shown[frame.index].pixels == apart).all()


def test_a_frame_without_a_face_comes_back_bit_for_bit(order: DraftOrder, shown: list[Shown]) -> None:
    with VideoReader(order.target) as reader:
        before = [frame.pixels for frame in reader]
    for frame in shown:
        is_untouched = (frame.pixels == before[frame.number % FRAMES]).all()

        assert is_untouched == (frame.number % FRAMES in GAP)
        assert frame.has_face != is_untouched


def test_a_part_is_what_the_whole_shows_there(order: DraftOrder, shown: list[Shown], models: FaceModels) -> None:
    part = DraftOrder(
        target=order.target,
        timeline=order.timeline,
        tracks=order.tracks,
        segment=Segment(start_frame=26, stop_frame=29),
        driving_audio=order.driving_audio,
        sources=order.sources,
    )
    frames = list(draft_frames(part, models))

    assert [frame.number for frame in frames] == [26, 27, 28]
    assert all((frame.pixels == shown[frame.number].pixels).all() for frame in frames)


def test_each_stage_can_be_left_out(order: DraftOrder, shown: list[Shown], models: FaceModels) -> None:
    first = Segment(start_frame=0, stop_frame=1)

    def only(**stages: object) -> Frame:
        fields = {"target": order.target, "timeline": order.timeline, "tracks": order.tracks, "segment": first}
        return next(draft_frames(DraftOrder(**(fields | stages)), models)).pixels  # type: ignore[arg-type]  # by name

    neither, lips = only(), only(driving_audio=order.driving_audio)
    swap = only(sources=order.sources)
    with VideoReader(order.target) as reader:
        assert (neither == next(iter(reader)).pixels).all()
    pictures = [neither, lips, swap, shown[0].pixels]
    assert all((one != other).any() for place, one in enumerate(pictures) for other in pictures[:place])


def test_what_is_written_holds_every_frame_and_says_in_how_many_a_face_was(
    order: DraftOrder, models: FaceModels, tmp_path: Path
) -> None:
    coverage = render_draft(order, tmp_path / "draft.mp4", models)
    video = probe(tmp_path / "draft.mp4").video

    assert video is not None
    assert (video.frame_count, video.fps) == (2 * FRAMES, FPS)
    assert (coverage.frames_looked_at, coverage.frames_with_face) == (2 * FRAMES, 2 * (FRAMES - len(GAP)))


def test_tracks_of_another_video_are_refused(order: DraftOrder, models: FaceModels) -> None:
    other = Timeline(fps=FPS, frame_count=10, target_frame_count=FRAMES - 1)
    with pytest.raises(FaultError) as refused:
        next(draft_frames(DraftOrder(order.target, other, order.tracks, driving_audio=order.driving_audio), models))

    assert refused.value.fault.code is FaultCode.REQUEST_INVALID


def test_who_asks_may_stop_the_pass(order: DraftOrder, models: FaceModels, tmp_path: Path) -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        render_draft(order, tmp_path / "draft.mp4", models, checkpoint=stop)

    assert not list(tmp_path.iterdir())
